"""The eight orientations of TIFF 6.0 and EXIF."""

from __future__ import annotations

from PIL import Image

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def make_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image as it is to be shown; ``orientation`` is 1 (as stored) to 8."""
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image
