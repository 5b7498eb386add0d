"""The metrics as text for the terminal: scikit-learn's classification report and the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.metrics import classification_report

from edge_runtime.bundle.classes import ClassSet
from train.metrics.classification import summary_metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def describe_metrics(truth: NDArray[np.int64], probabilities: NDArray[np.float64], classes: ClassSet) -> str:
    """Return the classification report and the summary metrics of ``truth`` (N,) and ``probabilities`` (N, C)."""
    table = classification_report(
        truth,
        probabilities.argmax(axis=1),
        labels=range(len(classes)),
        target_names=classes.codes,
        digits=3,
        zero_division=0,
    )
    lines = [
        f"{name.replace('_', ' '):>28} {value:.3f}" for name, value in summary_metrics(truth, probabilities).items()
    ]
    return table + "\n" + "\n".join(lines)
