"""Calibrated confidence: the temperature, and the confidence below which a prediction counts as "not sure".

Both are fitted on the validation set, never on the test set. Guo, Pleiss, Sun, Weinberger: On Calibration of Modern
Neural Networks, ICML 2017; Geifman, El-Yaniv: Selective Classification, NeurIPS 2017.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special

from edge_runtime.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE_LIMITS = (0.05, 20.0)
"""Only degenerate logits reach these limits, where every prediction is certain or all classes are equally likely."""


def apply_temperature(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(logits / temperature) over the last axis, float64."""
    return special.softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)


def fit_temperature(logits: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]]) -> float:
    """Return the temperature that minimises the mean negative log-likelihood.

    ``logits`` (N, C), uncalibrated; ``truth`` (N,) class indices. The objective is convex in 1/temperature, so a
    bounded scalar search finds the one minimum. Raises :class:`DataError` when there is nothing to fit on.
    """
    table, labels = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if table.ndim != 2 or labels.shape != table.shape[:1] or not len(labels):
        raise DataError(f"temperature: expected logits (N, C) and truth (N,), found {table.shape} and {labels.shape}")
    if not np.isfinite(table).all():
        raise DataError("temperature: expected finite logits, found nan or infinity")

    def negative_log_likelihood(inverse_temperature: float) -> float:
        log_probabilities = special.log_softmax(table * inverse_temperature, axis=1)
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())

    lowest, highest = 1.0 / TEMPERATURE_LIMITS[1], 1.0 / TEMPERATURE_LIMITS[0]
    found = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-8}
    )
    return 1.0 / float(found.x)


def choose_not_sure_threshold(probabilities: NDArray[np.floating[Any]], coverage: float = 0.9) -> float:
    """Return the highest confidence threshold that keeps at least ``coverage`` of the images.

    ``probabilities`` (N, C), calibrated. An image is kept when its largest probability is not below the threshold.
    Raises :class:`DataError` for a coverage outside (0, 1] or no images.
    """
    if not 0 < coverage <= 1:
        raise DataError(f"coverage: expected a fraction above 0 and at most 1, found {coverage}")
    confidence = np.sort(np.asarray(probabilities, dtype=np.float64).max(axis=-1))[::-1]
    if not len(confidence):
        raise DataError("coverage: expected at least one image, found none")
    kept = math.ceil(coverage * len(confidence) - 1e-9)
    return float(confidence[kept - 1])


def selective_curve(
    truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (coverage, accuracy), both (N,): accuracy on the k most confident images, for k = 1 … N.

    Equally confident images are added together, so that their order in the file does not matter.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    confidence = table.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    correct = (table.argmax(axis=1) == np.asarray(truth))[order].astype(np.float64)
    last_of_tie = np.searchsorted(-confidence[order], -confidence[order], side="right")  # 1-based end of each tie
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(correct)[last_of_tie - 1] / last_of_tie
