"""The views of test-time augmentation: a dermatoscope has no up or down, so a turned image is as good an image.

One definition for the device and for ``train.evaluate``: the answer is the mean of the views' probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEW_COUNTS = (1, 4, 8)
"""The upright image alone, its four quarter turns, or all eight symmetries of the square."""


def turned(images_nhwc: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Return square images (N, H, H, 3) turned by ``view % 4`` quarters, mirrored for ``view`` from 4 on."""
    views = np.rot90(images_nhwc, view % 4, axes=(1, 2))
    return np.ascontiguousarray(views[:, :, ::-1] if view >= 4 else views)
