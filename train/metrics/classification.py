"""Classification metrics from labels and probabilities; training, evaluation and export all use these, so they agree.

scikit-learn computes every metric that it has. ``truth`` is always an integer array (N,) of class indices and
``probabilities`` a float array (N, C) whose rows sum to one, both in the order of the model's classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sklearn_metrics

from edge_runtime.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_BINS = 15
"""Equal-width bins of the calibration error, as in Guo et al., ICML 2017."""

FIXED_SPECIFICITIES = (0.80, 0.90, 0.95)
_SUM_TOLERANCE = 1e-3
"""Probabilities computed in low precision miss a sum of one by less than this."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest. Undefined metrics (a class without images) are ``nan``; all lie in 0..1."""

    code: str
    support: int
    sensitivity: float
    specificity: float
    precision: float
    f1: float
    auc: float
    average_precision: float


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose confidence lies in (``lower``, ``upper``]: their number, mean confidence and accuracy."""

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


def summary_metrics(truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return the metrics of one row of ``metrics.jsonl``: name → value.

    ``accuracy``, ``balanced_accuracy``, ``weighted_f1``, ``macro_f1``, ``brier_score`` (summed over classes, 0..2) and
    ``log_loss`` (nats) are scikit-learn's; ``expected_calibration_error`` is that of Guo et al., ICML 2017.
    """
    truth, probabilities = checked(truth, probabilities)
    predicted, labels = probabilities.argmax(axis=1), range(probabilities.shape[1])
    return {
        "accuracy": float(sklearn_metrics.accuracy_score(truth, predicted)),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "weighted_f1": float(sklearn_metrics.f1_score(truth, predicted, average="weighted", zero_division=0)),
        "macro_f1": float(sklearn_metrics.f1_score(truth, predicted, average="macro", zero_division=0)),
        "expected_calibration_error": expected_calibration_error(truth, probabilities),
        "brier_score": float(
            sklearn_metrics.brier_score_loss(truth, probabilities, labels=labels, scale_by_half=False)
        ),
        "log_loss": float(sklearn_metrics.log_loss(truth, probabilities, labels=labels)),
    }


def balanced_accuracy(truth: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]]) -> float:
    """Return the mean sensitivity over the classes that occur in ``truth``: the score of the ISIC challenge."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        return float(sklearn_metrics.balanced_accuracy_score(truth, predicted))


def confusion_matrix(
    truth: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.int64]:
    """Return the counts (C, C): row = truth, column = prediction."""
    return sklearn_metrics.confusion_matrix(truth, predicted, labels=range(classes))


def class_metrics(
    truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], codes: Sequence[str]
) -> tuple[ClassMetrics, ...]:
    """Return one :class:`ClassMetrics` per class, in class order."""
    truth, probabilities = checked(truth, probabilities)
    predicted = probabilities.argmax(axis=1)
    return tuple(
        _one_class(code, truth == index, predicted == index, probabilities[:, index])
        for index, code in enumerate(codes)
    )


def _one_class(
    code: str, is_class: NDArray[np.bool_], called: NDArray[np.bool_], scores: NDArray[np.float64]
) -> ClassMetrics:
    support = int(is_class.sum())
    hits = int((is_class & called).sum())
    both = 0 < support < len(is_class)
    return ClassMetrics(
        code=code,
        support=support,
        sensitivity=_ratio(hits, support),
        specificity=_ratio(int((~is_class & ~called).sum()), len(is_class) - support),
        precision=_ratio(hits, int(called.sum())),
        f1=_ratio(2 * hits, support + int(called.sum())),
        auc=float(sklearn_metrics.roc_auc_score(is_class, scores)) if both else float("nan"),
        average_precision=float(sklearn_metrics.average_precision_score(is_class, scores)) if both else float("nan"),
    )


def calibration_bins(
    truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], bins: int = CALIBRATION_BINS
) -> tuple[CalibrationBin, ...]:
    """Return ``bins`` bins of equal confidence width over 0..1, in order. Empty bins hold ``nan``."""
    truth, probabilities = checked(truth, probabilities)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    members = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(members, minlength=bins)
    with np.errstate(invalid="ignore"):  # empty bins
        mean_confidence = np.bincount(members, confidence, minlength=bins) / counts
        mean_accuracy = np.bincount(members, correct, minlength=bins) / counts
    return tuple(
        CalibrationBin(
            lower=float(edges[i]),
            upper=float(edges[i + 1]),
            count=int(counts[i]),
            confidence=float(mean_confidence[i]),
            accuracy=float(mean_accuracy[i]),
        )
        for i in range(bins)
    )


def expected_calibration_error(
    truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean gap between confidence and accuracy, weighted by the images in each bin, 0..1."""
    filled = [one for one in calibration_bins(truth, probabilities, bins) if one.count]
    return sum(one.count * abs(one.confidence - one.accuracy) for one in filled) / len(truth)


def malignancy_score(probabilities: NDArray[np.floating[Any]], malignant: Sequence[int]) -> NDArray[np.float64]:
    """Return the summed probability of the classes with these indices, float64 (N,)."""
    return probabilities[:, list(malignant)].sum(axis=1, dtype=np.float64)


def sensitivity_at_specificity(
    positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]], specificity: float
) -> tuple[float, float]:
    """Return the highest sensitivity of a rule "score ≥ threshold" with at least that specificity, and its threshold.

    Both are ``nan`` where only one of the two groups occurs.
    """
    if not 0 < int(positive.sum()) < len(positive):
        return float("nan"), float("nan")
    false_positive_rates, true_positive_rates, thresholds = sklearn_metrics.roc_curve(
        positive, scores, drop_intermediate=False
    )
    allowed = false_positive_rates <= 1.0 - specificity + 1e-12
    best = int(np.flatnonzero(allowed)[-1])  # both rates grow along the curve
    return float(true_positive_rates[best]), float(thresholds[best])


def checked(
    truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return both arrays as int64 and float64, with rows that sum to exactly one. Raises :class:`DataError`."""
    labels = np.asarray(truth)
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or labels.shape != table.shape[:1]:
        raise DataError(
            f"metrics: expected truth (N,) and probabilities (N, C) of at least two classes, found {labels.shape} and "
            f"{table.shape}"
        )
    if not len(labels):
        raise DataError("metrics: expected at least one image, found none")
    if not np.isfinite(table).all():
        raise DataError("metrics: expected finite probabilities, found nan or infinity")
    sums = table.sum(axis=1, keepdims=True)
    furthest = float(sums.flat[np.abs(sums - 1.0).argmax()])
    if abs(furthest - 1.0) > _SUM_TOLERANCE:
        raise DataError(f"metrics: expected probabilities that sum to one, found a sum of {furthest:.4g}")
    return labels.astype(np.int64), table / sums


def _ratio(count: int, total: int) -> float:
    return count / total if total else float("nan")
