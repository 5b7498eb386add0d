"""Whether what was measured is within the tolerances: each broken one becomes a line that says what and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.manifest import Parity
from export.configuration import Tolerances
from export.parity.check import GraphParity, Reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEMO_STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class Gate:
    """The tolerances of the graphs, and the reference predictions and truth int64 [N] that they are compared with.

    A demo's validation subset is so small that a graph just within a tolerance would miss it by chance, so for a
    ``demo`` every tolerance on a fraction of images is widened by three standard errors of that fraction.
    """

    tolerances: Tolerances
    reference: Reference
    truth: NDArray[np.int64]
    demo: bool

    def broken(self, result: GraphParity, entry: Parity) -> list[str]:
        """Return one line for every tolerance that a graph chain breaks; none when it passes."""
        exact = result.variant.endswith(("-fp32", "-fp16"))
        lines = [
            *self._broken_agreement(entry, exact=exact),
            *(self._broken_probabilities(entry) if exact else []),
            *self._broken_accuracies(entry, exact=exact),
            *self._broken_recalls(result),
            *self._broken_maps(result, exact=exact),
        ]
        return [f"{result.variant} {result.role}: {line}" for line in lines]

    def _agreement(self, *, exact: bool) -> tuple[float, float]:
        """Return the least agreement, and by how much a demo may miss it."""
        agreement = self.tolerances.fp32_agreement if exact else self.tolerances.int8_agreement
        slack = DEMO_STANDARD_ERRORS * math.sqrt((1 - agreement) / len(self.truth)) if self.demo else 0.0
        return agreement, slack

    def _broken_agreement(self, entry: Parity, *, exact: bool) -> list[str]:
        agreement, slack = self._agreement(exact=exact)
        if entry.top1_agreement >= agreement - slack:
            return []
        return [f"agrees on {entry.top1_agreement:.2%} of images, expected {agreement - slack:.2%}"]

    def _broken_probabilities(self, entry: Parity) -> list[str]:
        half = entry.variant.endswith("-fp16")
        limits = self.tolerances.fp16_probability_difference, self.tolerances.fp32_probability_difference
        largest = limits[0] if half else limits[1]
        if entry.max_probability_difference <= largest:  # never true of NaN
            return []
        return [f"probability differs by {entry.max_probability_difference:.2g}, expected {largest:g}"]

    def _broken_accuracies(self, entry: Parity, *, exact: bool) -> list[str]:
        slack = self._agreement(exact=exact)[1]
        changes = (
            ("accuracy", entry.accuracy_change, self.tolerances.accuracy_loss + slack),
            ("balanced accuracy", entry.balanced_accuracy_change, self.tolerances.balanced_accuracy_loss + slack),
        )
        return [
            f"{name} changes by {100 * change:+.2f} points, expected {-100 * allowed:.2f} at worst"
            for name, change, allowed in changes
            if change < -allowed - 1e-9
        ]

    def _broken_recalls(self, result: GraphParity) -> list[str]:
        lines = []
        for code, (change, count) in recall_changes(result, self.reference, self.truth).items():
            allowed = max(self.tolerances.recall_loss_images, self.tolerances.recall_loss * count)
            if -change > allowed:
                lines.append(f"{-change} of {count} images of {code} are lost, expected {allowed:.0f} at most")
        return lines

    def _broken_maps(self, result: GraphParity, *, exact: bool) -> list[str]:
        least = self.tolerances.fp32_explain_correlation if exact else self.tolerances.int8_explain_correlation
        if not result.explain_correlation or np.mean(result.explain_correlation) >= least:
            return []
        mean = np.mean(result.explain_correlation)
        return [f"Grad-CAM correlates {mean:.4f} with PyTorch's, expected {least}"]


def recall_changes(result: GraphParity, reference: Reference, truth: NDArray[np.int64]) -> dict[str, tuple[int, int]]:
    """Return by class how many images more (or fewer, negative) are recognised, and how many images it has."""
    gained = (result.probabilities.argmax(1) == truth).astype(int) - (reference.probabilities.argmax(1) == truth)
    return {
        code: (int(gained[truth == index].sum()), int((truth == index).sum()))
        for index, code in enumerate(reference.classes.codes)
    }
