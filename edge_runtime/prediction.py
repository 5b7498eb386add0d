"""What a prediction is: calibrated probabilities, a verdict, and how, where and how fast it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError
from edge_runtime.vocabulary import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEMO_WARNING = "demo model: trained on generated phantoms, not on patients; its predictions have no medical meaning"


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    ``probabilities`` are calibrated, finite and sum to one, in class order. ``verdict`` is ``"diagnosis"``,
    ``"not_sure"`` (confidence below the bundle's threshold) or ``"not_a_lesion_image"``; ``label`` is the most probable
    class whatever the verdict. ``timing_ms`` holds milliseconds for ``decode``, ``features``, ``head`` and, on request,
    ``explain``. ``image_hwc`` is the graph's input, uint8 (size, size, 3); ``class_activation_map`` is float32
    (rows, columns), non-negative, for ``explained_class``. ``outlier_score`` is higher the less the image looks like a
    dermoscopic image, ``None`` where the model has no such score. ``views`` is the number of views whose probabilities
    were averaged, 1 without test-time augmentation.
    """

    label: str
    probabilities: dict[str, float]
    verdict: Verdict
    engine: str
    precision: str
    timing_ms: dict[str, float]
    warnings: tuple[str, ...]
    image_hwc: NDArray[np.uint8]
    class_activation_map: NDArray[np.float32] | None = None
    explained_class: str | None = None
    outlier_score: float | None = None
    views: int = 1

    @property
    def confidence(self) -> float:
        """Probability of ``label``, 0..1."""
        return self.probabilities[self.label]

    def to_json(self, image: str | None = None) -> dict[str, Any]:
        """Return the object that ``--json`` prints and the web API returns, ready for ``json.dumps``.

        It has the key ``views`` only where there are several.
        """
        several = {"views": self.views} if self.views > 1 else {}
        return {
            "image": image,
            "label": self.label,
            "probabilities": self.probabilities,
            "verdict": self.verdict,
            "engine": self.engine,
            "precision": self.precision,
            **several,
            "timing_ms": {stage: round(milliseconds, 3) for stage, milliseconds in self.timing_ms.items()},
            "warnings": list(self.warnings),
        }


def calibrated_probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Softmax over the last axis in float64. Raises :class:`EngineError` when a logit is not finite."""
    if not np.isfinite(logits).all():
        raise EngineError("the engine returned logits that are not finite")
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities
