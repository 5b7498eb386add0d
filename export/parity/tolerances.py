"""Whether what was measured is within the tolerances: each broken one becomes a line that says what and by how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.manifest import Parity
from export.configuration import Tolerances
from export.parity.check import GraphParity, Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEMO_STANDARD_ERRORS = 3.0


def broken_tolerances(
    result: GraphParity,
    entry: Parity,
    reference: Reference,
    truth: NDArray[np.int64],
    tolerances: Tolerances,
    *,
    demo: bool,
) -> list[str]:
    """Return one line for every tolerance that a graph chain breaks; none when it passes.

    A demo's validation part is so small that a graph just within a bar would miss it by chance, so there every bar on
    a share of images is widened by three standard errors of that share.
    """
    where = f"{result.variant} {result.role}"
    precision = result.variant.split("-", 1)[1]
    exact = precision in ("fp32", "fp16")
    agreement = tolerances.fp32_agreement if exact else tolerances.int8_agreement
    slack = DEMO_STANDARD_ERRORS * math.sqrt((1 - agreement) / len(truth)) if demo else 0.0
    broken = []
    if entry.top1_agreement < agreement - slack:
        broken.append(f"{where}: agrees on {entry.top1_agreement:.2%} of images, expected {agreement - slack:.2%}")
    if exact:
        largest = (
            tolerances.fp32_probability_difference if precision == "fp32" else tolerances.fp16_probability_difference
        )
        if not entry.max_probability_difference <= largest:
            broken.append(
                f"{where}: probability differs by {entry.max_probability_difference:.2g}, expected {largest:g}"
            )
    for name, change, allowed in (
        ("accuracy", entry.accuracy_change, tolerances.accuracy_loss + slack),
        ("balanced accuracy", entry.balanced_accuracy_change, tolerances.balanced_accuracy_loss + slack),
    ):
        if change < -allowed - 1e-9:
            broken.append(
                f"{where}: {name} changes by {100 * change:+.2f} points, expected {-100 * allowed:.2f} at worst"
            )
    broken += _broken_recalls(where, result, reference, truth, tolerances)
    least = tolerances.fp32_explain_correlation if exact else tolerances.int8_explain_correlation
    if result.explain_correlation and np.mean(result.explain_correlation) < least:
        mean = np.mean(result.explain_correlation)
        broken.append(f"{where}: Grad-CAM correlates {mean:.4f} with PyTorch's, expected {least}")
    return broken


def recall_changes(result: GraphParity, reference: Reference, truth: NDArray[np.int64]) -> dict[str, tuple[int, int]]:
    """Return by class how many images more (or fewer, negative) are recognised, and how many images it has."""
    gained = (result.probabilities.argmax(1) == truth).astype(int) - (reference.probabilities.argmax(1) == truth)
    return {
        code: (int(gained[truth == index].sum()), int((truth == index).sum())) for index, code in enumerate(CLASS_CODES)
    }


def _broken_recalls(
    where: str, result: GraphParity, reference: Reference, truth: NDArray[np.int64], tolerances: Tolerances
) -> list[str]:
    broken = []
    for code, (change, count) in recall_changes(result, reference, truth).items():
        allowed = max(tolerances.recall_loss_images, tolerances.recall_loss * count)
        if -change > allowed:
            broken.append(f"{where}: {-change} of {count} images of {code} are lost, expected {allowed:.0f} at most")
    return broken
