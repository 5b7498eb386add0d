"""Test-time augmentation: ask the model about eight turned and mirrored views of a picture and average its answers.

A dermatoscope has no up or down, so all eight symmetries of the square are equally good views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from train.calibration import apply_temperature
from train.records import LesionRecord
from train.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEWS = 8


class AugmentedSubject:
    """A subject whose probabilities are the mean over the eight views; its maps are those of the upright picture."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.facts = dataclasses.replace(subject.facts, title=f"{subject.facts.title}, {VIEWS} views")

    def answer(self, pictures: NDArray[np.uint8], records: Sequence[LesionRecord]) -> NDArray[np.float64]:
        """See :class:`train.subject.Subject`."""
        total = np.zeros(())
        for view in range(VIEWS):
            total = total + apply_temperature(self.subject.answer(turned(pictures, view), records))
        return np.log(np.maximum(total / VIEWS, np.finfo(np.float64).tiny))

    def explain(self, picture_hwc: NDArray[np.uint8], record: LesionRecord, class_index: int) -> NDArray[np.float32]:
        """See :class:`train.subject.Subject`."""
        return self.subject.explain(picture_hwc, record, class_index)

    def outlier_scores(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """See :class:`train.subject.Subject`; of the upright pictures."""
        return self.subject.outlier_scores(pictures)


def turned(pictures: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Return square pictures (N, H, H, 3) turned by ``view % 4`` quarters, mirrored for ``view`` from 4 on."""
    views = np.rot90(pictures, view % 4, axes=(1, 2))
    return np.ascontiguousarray(views[:, :, ::-1] if view >= 4 else views)
