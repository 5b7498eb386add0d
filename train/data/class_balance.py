"""How often each class occurs, and the weights that follow from it for losses and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def class_counts(labels: NDArray[np.integer[Any]], classes: int) -> NDArray[np.int64]:
    """Images per class, int64 [C], for ``classes`` classes."""
    return np.bincount(labels, minlength=classes).astype(np.int64)


def log_frequencies(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of each class's share of the images, float64 [C]; a class without images counts as having one."""
    return np.log(np.maximum(counts, 1) / max(int(counts.sum()), 1))


def class_weights(labels: NDArray[np.integer[Any]], power: float, classes: int) -> NDArray[np.float64]:
    """Inverse frequency to ``power``, float64 [C], with mean one over the images; 0 for classes without images."""
    counts = class_counts(labels, classes)
    raw = np.where(counts > 0, np.maximum(counts, 1) ** -float(power), 0.0)
    return raw * counts.sum() / (raw * counts).sum()
