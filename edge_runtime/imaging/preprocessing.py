"""The one definition of what an image is: bytes of an image → ``uint8`` array that a graph takes.

Decode (:mod:`edge_runtime.imaging.decoding`: first frame, EXIF orientation applied, RGB), then stretch to the model's
square with Pillow's antialiased triangle filter. Normalisation is not here: it is inside the graphs. Training, export,
the device and the web app all call :func:`load_image_hwc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime.imaging.decoding import MAX_PIXELS, decode_image, describe_source
from edge_runtime.imaging.formats import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_SUFFIXES",
    "INPUT_SIZE",
    "MAX_PIXELS",
    "decode_image",
    "describe_source",
    "load_image_hwc",
    "resize_to_square",
]

INPUT_SIZE = 224
"""Side of the square a graph takes, in pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per-channel mean and standard deviation of ImageNet in RGB on the scale 0..1, as torchvision uses them."""


def load_image_hwc(source: Any, size: int = INPUT_SIZE, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the image as the graphs take it: ``uint8`` of shape (size, size, 3), RGB, 0..255.

    ``source`` is a path, the bytes of a file, a PIL image, or a ``uint8`` array of shape (H, W, 3).
    Raises :class:`edge_runtime.errors.ImageError` naming the source when it cannot be used.
    """
    return resize_to_square(decode_image(source, size, max_pixels=max_pixels), size)


def resize_to_square(image: Image.Image, size: int = INPUT_SIZE) -> NDArray[np.uint8]:
    """Stretch an RGB image to ``uint8`` of shape (size, size, 3); an image of that size passes unchanged."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
