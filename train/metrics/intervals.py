"""95 % bootstrap intervals of all metrics, resampling whole lesions because images of one lesion are not independent.

Efron, Tibshirani: An Introduction to the Bootstrap (1993), percentile intervals; lesions as clusters. Every metric is
computed from a weight per image, for all replicates at once; weights of one give the metric itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import ClassSet
from train.metrics.classification import (
    CALIBRATION_BINS,
    FIXED_SPECIFICITIES,
    checked,
    malignancy_score,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = NDArray[np.float64]
    Metrics = dict[str, NDArray[np.float64]]

REPLICATES = 1000
CONFIDENCE_LEVEL = 0.95
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """A metric with the bounds of its 95 % interval; ``nan`` where it is undefined."""

    value: float
    low: float
    high: float


def bootstrap_intervals(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    lesions: Sequence[str],
    classes: ClassSet,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return name → interval for the names of ``summary_metrics``, for "malignancy_auc", for
    "malignancy_sensitivity/0.90" at each fixed specificity, and for "sensitivity/mel" and its siblings per class.

    ``truth`` (N,) and ``probabilities`` (N, C) are in class order; ``lesions`` are the lesion ids of the N images.
    """
    truth, probabilities = checked(truth, probabilities)
    plain = weighted_metrics(truth, probabilities, np.ones((1, len(truth))), classes)
    resampled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in plain}
    generator = np.random.default_rng(seed)
    for start in range(0, replicates, _CHUNK):
        weights = lesion_weights(lesions, min(_CHUNK, replicates - start), generator)
        for name, values in weighted_metrics(truth, probabilities, weights, classes).items():
            resampled[name].append(values)
    return {name: _interval(float(plain[name][0]), np.concatenate(values)) for name, values in resampled.items()}


def paired_intervals(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    reference: NDArray[np.float64],
    lesions: Sequence[str],
    classes: ClassSet,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return how a model differs from a reference model on the same images: name → interval of the difference.

    Every replicate resamples the same lesions for both models, so shared variation cancels and the interval of the
    difference is far narrower than that of either metric. Names: "accuracy", "balanced_accuracy" and "sensitivity/mel"
    for each class, all as differences, and "agreement", the share of images with the same predicted class.
    """
    predicted, expected = probabilities.argmax(axis=1), reference.argmax(axis=1)
    count = len(classes)
    cells, reference_cells = (np.eye(count * count)[truth * count + one] for one in (predicted, expected))

    def differences(weights: Weights) -> Metrics:
        new, old = (
            _confusion_metrics((weights @ one).reshape(-1, count, count), classes.codes)
            for one in (cells, reference_cells)
        )
        names = [name for name in new if name in ("accuracy", "balanced_accuracy") or name.startswith("sensitivity/")]
        agreement = weights @ (predicted == expected).astype(np.float64) / weights.sum(axis=1)
        return {**{name: new[name] - old[name] for name in names}, "agreement": agreement}

    plain = differences(np.ones((1, len(truth))))
    resampled = differences(lesion_weights(lesions, replicates, np.random.default_rng(seed)))
    return {name: _interval(float(plain[name][0]), resampled[name]) for name in plain}


def lesion_weights(lesions: Sequence[str], replicates: int, generator: np.random.Generator) -> Weights:
    """Sample lesions with replacement; return how often each image's lesion was sampled, float64 (replicates, N)."""
    _, lesion_of_image = np.unique(np.asarray(lesions), return_inverse=True)
    count = int(lesion_of_image.max()) + 1
    sampled = generator.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    return sampled[:, lesion_of_image].astype(np.float64)


def weighted_metrics(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], weights: Weights, classes: ClassSet
) -> Metrics:
    """Return every metric for every row of ``weights`` (B, N): name → float64 (B,)."""
    predicted = probabilities.argmax(axis=1)
    count = len(classes)
    cells = np.eye(count * count)[truth * count + predicted]
    matrices = (weights @ cells).reshape(-1, count, count)
    metrics = _confusion_metrics(matrices, classes.codes)
    metrics |= _probability_metrics(truth, probabilities, weights)
    for index, code in enumerate(classes.codes):
        curve = _Curve(probabilities[:, index], truth == index, weights)
        metrics[f"auc/{code}"] = curve.auc()
        metrics[f"average_precision/{code}"] = curve.average_precision()
    malignant = classes.malignant_indices
    malignancy = _Curve(malignancy_score(probabilities, malignant), np.isin(truth, malignant), weights)
    metrics["malignancy_auc"] = malignancy.auc()
    for specificity in FIXED_SPECIFICITIES:
        metrics[f"malignancy_sensitivity/{specificity:.2f}"] = malignancy.sensitivity_at(specificity)
    return metrics


def _confusion_metrics(matrices: NDArray[np.float64], codes: Sequence[str]) -> Metrics:
    """Return the metrics of the predicted classes, from confusion matrices (B, C, C) with the truth in rows."""
    total = matrices.sum(axis=(1, 2))
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, precision = hits / support, hits / predicted
        f1 = 2 * hits / (support + predicted)
        negatives = total[:, None] - support
        specificity = (negatives - (predicted - hits)) / negatives
    metrics = {
        "accuracy": hits.sum(axis=1) / total,
        "balanced_accuracy": _mean_of_defined(sensitivity),
        "weighted_f1": (np.nan_to_num(f1) * support).sum(axis=1) / total,
        "macro_f1": _mean_of_defined(f1),
    }
    for index, code in enumerate(codes):
        metrics[f"sensitivity/{code}"] = sensitivity[:, index]
        metrics[f"specificity/{code}"] = specificity[:, index]
        metrics[f"precision/{code}"] = precision[:, index]
        metrics[f"f1/{code}"] = f1[:, index]
    return metrics


def _probability_metrics(truth: NDArray[np.int64], probabilities: NDArray[np.float64], weights: Weights) -> Metrics:
    total = weights.sum(axis=1)
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    members = np.eye(CALIBRATION_BINS)[np.clip(np.searchsorted(edges, confidence) - 1, 0, CALIBRATION_BINS - 1)]
    gaps = np.abs((weights * (confidence - correct)) @ members)
    squares = np.square(probabilities - np.eye(probabilities.shape[1])[truth]).sum(axis=1)
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
            false_positive_rate = self.false_positives / self.false_positives[:, -1:]
        start = np.zeros((len(sensitivity), 1))
        return np.hstack([start, sensitivity]), np.hstack([start, false_positive_rate])

    def auc(self) -> NDArray[np.float64]:
        """Return the area under the ROC curve by trapezoids; ``nan`` where one group has no weight."""
        sensitivity, false_positive_rate = self._rates()
        steps = np.diff(false_positive_rate, axis=1)
        return (steps * (sensitivity[:, 1:] + sensitivity[:, :-1]) / 2).sum(axis=1)

    def average_precision(self) -> NDArray[np.float64]:
        """Return the mean of the precisions weighted by the gain in recall, as scikit-learn defines it."""
        positives = self.true_positives + self.false_positives
        precision = np.divide(self.true_positives, positives, out=np.zeros_like(positives), where=positives > 0)
        sensitivity, false_positive_rate = self._rates()
        defined = np.isfinite(false_positive_rate[:, -1])
        return np.where(defined, (np.diff(sensitivity, axis=1) * precision).sum(axis=1), np.nan)

    def sensitivity_at(self, specificity: float) -> NDArray[np.float64]:
        """Return the highest sensitivity of any threshold with at least that specificity."""
        sensitivity, false_positive_rate = self._rates()
        allowed = np.where(false_positive_rate <= 1.0 - specificity + 1e-12, sensitivity, 0.0)
        defined = np.isfinite(sensitivity[:, -1]) & np.isfinite(false_positive_rate[:, -1])
        return np.where(defined, allowed.max(axis=1), np.nan)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = np.isfinite(values)
    return np.where(defined, values, 0.0).sum(axis=1) / defined.sum(axis=1)


def _interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(defined):
        return Interval(value, float("nan"), float("nan"))
    tail = (1.0 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
