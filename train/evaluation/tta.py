"""Test-time augmentation of a checkpoint: its mean prediction over rotated and flipped views of an image.

The views are those of the device (:mod:`edge_runtime.imaging.views`); a bundle averages over them in the device's own
code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.imaging.views import apply_symmetry
from train.data.records import LesionRecord
from train.evaluation.subject import Subject
from train.metrics.temperature import apply_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AugmentedSubject:
    """A subject whose probabilities are the mean over ``views``; its heat maps are those of the image as it is."""

    def __init__(self, subject: Subject, views: int) -> None:
        self.subject = subject
        self.views = views
        self.facts = dataclasses.replace(subject.facts, title=f"{subject.facts.title}, {views} views")

    def predict_logits(self, images: NDArray[np.uint8], records: Sequence[LesionRecord]) -> NDArray[np.float64]:
        """See :class:`train.evaluation.subject.Subject`."""
        views = [self.subject.predict_logits(apply_symmetry(images, view), records) for view in range(self.views)]
        probabilities = np.mean([apply_temperature(logits) for logits in views], axis=0)
        return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))

    def explain(self, image_hwc: NDArray[np.uint8], record: LesionRecord, class_index: int) -> NDArray[np.float32]:
        """See :class:`train.evaluation.subject.Subject`."""
        return self.subject.explain(image_hwc, record, class_index)

    def outlier_scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """See :class:`train.evaluation.subject.Subject`; of the images as they are."""
        return self.subject.outlier_scores(images)
