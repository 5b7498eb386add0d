"""95 % bootstrap intervals of all figures, resampling whole lesions because images of one lesion are not independent.

Efron, Tibshirani: An Introduction to the Bootstrap (1993), percentile intervals; lesions as clusters. Every figure is
computed from a weight per image, for all replicates at once; weights of one give the plain figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import CLASS_CODES
from train.metrics.classification import (
    CALIBRATION_BINS,
    FIXED_SPECIFICITIES,
    checked,
    malignancy_score,
    malignant_indices,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = NDArray[np.float64]
    Figures = dict[str, NDArray[np.float64]]

REPLICATES = 1000
CONFIDENCE_LEVEL = 0.95
_CHUNK = 100
_CLASSES = len(CLASS_CODES)


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % interval; ``nan`` where it is undefined."""

    value: float
    low: float
    high: float


def bootstrap_intervals(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    lesions: Sequence[str],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return name → interval: those of ``summary_metrics``, "malignancy_auc", "malignancy_sensitivity/0.90" and the
    like, and "sensitivity/mel" and the like per class. ``lesions`` are the images' lesion ids.
    """
    truth, probabilities = checked(truth, probabilities)
    plain = weighted_figures(truth, probabilities, np.ones((1, len(truth))))
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in plain}
    generator = np.random.default_rng(seed)
    for start in range(0, replicates, _CHUNK):
        weights = lesion_weights(lesions, min(_CHUNK, replicates - start), generator)
        for name, values in weighted_figures(truth, probabilities, weights).items():
            drawn[name].append(values)
    return {name: _interval(float(plain[name][0]), np.concatenate(values)) for name, values in drawn.items()}


def paired_intervals(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    reference: NDArray[np.float64],
    lesions: Sequence[str],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return how one model differs from another on the same images: name → interval of the difference.

    Both see the same lesions in every replicate, so what they have in common cancels: the interval is that of the
    change, far narrower than that of either figure. Names: "accuracy", "balanced_accuracy", "sensitivity/mel" and the
    like as differences, and "agreement", the share of images with the same answer.
    """
    answers, others = probabilities.argmax(axis=1), reference.argmax(axis=1)
    cells, other_cells = (np.eye(_CLASSES * _CLASSES)[truth * _CLASSES + one] for one in (answers, others))

    def figures(weights: Weights) -> Figures:
        new, old = (_confusion_figures((weights @ one).reshape(-1, _CLASSES, _CLASSES)) for one in (cells, other_cells))
        names = [name for name in new if name in ("accuracy", "balanced_accuracy") or name.startswith("sensitivity/")]
        agreement = weights @ (answers == others).astype(np.float64) / weights.sum(axis=1)
        return {**{name: new[name] - old[name] for name in names}, "agreement": agreement}

    plain = figures(np.ones((1, len(truth))))
    drawn = figures(lesion_weights(lesions, replicates, np.random.default_rng(seed)))
    return {name: _interval(float(plain[name][0]), drawn[name]) for name in plain}


def lesion_weights(lesions: Sequence[str], replicates: int, generator: np.random.Generator) -> Weights:
    """Draw lesions with replacement; return how often each image's lesion came, float64 (replicates, N)."""
    _, lesion_of_image = np.unique(np.asarray(lesions), return_inverse=True)
    count = int(lesion_of_image.max()) + 1
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    return drawn[:, lesion_of_image].astype(np.float64)


def weighted_figures(truth: NDArray[np.int64], probabilities: NDArray[np.float64], weights: Weights) -> Figures:
    """Return every figure for every row of ``weights`` (B, N): name → float64 (B,)."""
    predicted = probabilities.argmax(axis=1)
    cells = np.eye(_CLASSES * _CLASSES)[truth * _CLASSES + predicted]
    matrices = (weights @ cells).reshape(-1, _CLASSES, _CLASSES)
    figures = _confusion_figures(matrices)
    figures |= _probability_figures(truth, probabilities, weights)
    for index, code in enumerate(CLASS_CODES):
        curve = _Curve(probabilities[:, index], truth == index, weights)
        figures[f"auc/{code}"] = curve.auc()
        figures[f"average_precision/{code}"] = curve.average_precision()
    malignancy = _Curve(malignancy_score(probabilities), np.isin(truth, malignant_indices()), weights)
    figures["malignancy_auc"] = malignancy.auc()
    for specificity in FIXED_SPECIFICITIES:
        figures[f"malignancy_sensitivity/{specificity:.2f}"] = malignancy.sensitivity_at(specificity)
    return figures


def _confusion_figures(matrices: NDArray[np.float64]) -> Figures:
    """Figures of the answers alone, from confusion matrices (B, C, C) with the truth in rows."""
    total = matrices.sum(axis=(1, 2))
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    support, called = matrices.sum(axis=2), matrices.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, precision = hits / support, hits / called
        f1 = 2 * hits / (support + called)
        negatives = total[:, None] - support
        specificity = (negatives - (called - hits)) / negatives
    figures = {
        "accuracy": hits.sum(axis=1) / total,
        "balanced_accuracy": _mean_of_defined(sensitivity),
        "weighted_f1": (np.nan_to_num(f1) * support).sum(axis=1) / total,
        "macro_f1": _mean_of_defined(f1),
    }
    for index, code in enumerate(CLASS_CODES):
        figures[f"sensitivity/{code}"] = sensitivity[:, index]
        figures[f"specificity/{code}"] = specificity[:, index]
        figures[f"precision/{code}"] = precision[:, index]
        figures[f"f1/{code}"] = f1[:, index]
    return figures


def _probability_figures(truth: NDArray[np.int64], probabilities: NDArray[np.float64], weights: Weights) -> Figures:
    total = weights.sum(axis=1)
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    members = np.eye(CALIBRATION_BINS)[np.clip(np.searchsorted(edges, confidence) - 1, 0, CALIBRATION_BINS - 1)]
    gaps = np.abs((weights * (confidence - correct)) @ members)
    squares = np.square(probabilities - np.eye(_CLASSES)[truth]).sum(axis=1)
    chosen = np.clip(probabilities[np.arange(len(truth)), truth], np.finfo(np.float64).eps, 1.0)
    return {
        "expected_calibration_error": gaps.sum(axis=1) / total,
        "brier_score": weights @ squares / total,
        "log_loss": weights @ -np.log(chosen) / total,
    }


class _Curve:
    """Weighted counts of true and false positives at every distinct threshold, from strict to lenient, each (B, T)."""

    def __init__(self, scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: Weights) -> None:
        order = np.argsort(-scores, kind="stable")
        descending = scores[order]
        last_of_tie = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)
        ordered, is_positive = weights[:, order], positive[order]
        self.true_positives = np.cumsum(ordered * is_positive, axis=1)[:, last_of_tie]
        self.false_positives = np.cumsum(ordered * ~is_positive, axis=1)[:, last_of_tie]

    def _rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity = self.true_positives / self.true_positives[:, -1:]
            false_alarms = self.false_positives / self.false_positives[:, -1:]
        start = np.zeros((len(sensitivity), 1))
        return np.hstack([start, sensitivity]), np.hstack([start, false_alarms])

    def auc(self) -> NDArray[np.float64]:
        """Area under the ROC curve by trapezoids; ``nan`` where one side has no weight."""
        sensitivity, false_alarms = self._rates()
        steps = np.diff(false_alarms, axis=1)
        return (steps * (sensitivity[:, 1:] + sensitivity[:, :-1]) / 2).sum(axis=1)

    def average_precision(self) -> NDArray[np.float64]:
        """Mean of the precisions weighted by the gain in recall, as scikit-learn defines it."""
        called = self.true_positives + self.false_positives
        precision = np.divide(self.true_positives, called, out=np.zeros_like(called), where=called > 0)
        sensitivity, false_alarms = self._rates()
        defined = np.isfinite(false_alarms[:, -1])
        return np.where(defined, (np.diff(sensitivity, axis=1) * precision).sum(axis=1), np.nan)

    def sensitivity_at(self, specificity: float) -> NDArray[np.float64]:
        """Largest sensitivity of any threshold with at least that specificity."""
        sensitivity, false_alarms = self._rates()
        allowed = np.where(false_alarms <= 1.0 - specificity + 1e-12, sensitivity, 0.0)
        defined = np.isfinite(sensitivity[:, -1]) & np.isfinite(false_alarms[:, -1])
        return np.where(defined, allowed.max(axis=1), np.nan)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = np.isfinite(values)
    return np.where(defined, values, 0.0).sum(axis=1) / defined.sum(axis=1)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(defined):
        return Interval(value, float("nan"), float("nan"))
    tail = (1.0 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
