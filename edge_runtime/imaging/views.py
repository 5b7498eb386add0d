"""The views of test-time augmentation: a dermatoscope has no up or down, so every symmetry of an image is as good.

One definition for the device and for ``train.evaluate``: the prediction is the mean of the views' probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def apply_symmetry(batch_nhwc: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return square images (N, H, H, 3) rotated by ``index % 4`` × 90°, then flipped left to right if ``index`` ≥ 4."""
    rotated = np.rot90(batch_nhwc, index % 4, axes=(1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if index >= 4 else rotated)
