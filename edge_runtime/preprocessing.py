"""The one definition of what an image is: bytes of a picture → ``uint8`` array that a graph takes.

Decode the first frame, apply the EXIF orientation, convert to RGB, stretch to the model's square with Pillow's
antialiased triangle filter. Normalisation is not here: it is inside the graphs. Training, export, the device and the
web app all call :func:`load_image_hwc`.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edge_runtime.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT_SIZE = 224
"""Side of the square a graph takes, in pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per-channel mean and standard deviation of ImageNet in RGB on the scale 0..1, as torchvision uses them."""

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The only parsers of Pillow that are ever given bytes."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name endings, lower case, that folder mode picks up."""

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused before they are decoded."""


def load_image_hwc(source: Any, size: int = INPUT_SIZE, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the picture as the graphs take it: ``uint8`` of shape (size, size, 3), RGB, 0..255.

    ``source`` is a path, the bytes of a file, a PIL image, or a ``uint8`` array of shape (H, W, 3).
    Raises :class:`ImageError` naming the source when it cannot be used.
    """
    return resize_to_square(decode_image(source, size, max_pixels=max_pixels), size)


def resize_to_square(image: Image.Image, size: int = INPUT_SIZE) -> NDArray[np.uint8]:
    """Stretch an RGB picture to ``uint8`` of shape (size, size, 3); a picture of that size passes unchanged."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def decode_image(source: Any, size: int = INPUT_SIZE, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode any accepted source to an upright RGB picture.

    A JPEG with both sides at least eight times ``size`` is decoded at reduced scale by the decoder itself, still at
    least four times ``size`` on each side, so that the stretch that follows hides the difference.
    """
    name = describe_source(source)
    if isinstance(source, np.ndarray):
        return _image_from_array(source, name)
    if isinstance(source, Image.Image):
        return _upright_rgb(source, name)
    try:
        data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    if not data:
        raise ImageError(f"{name}: expected a picture, found an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about what is refused or mended below
            with Image.open(io.BytesIO(data), formats=ALLOWED_FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageError(
                        f"{name}: expected at most {max_pixels / 1e6:.0f} megapixels, found {width}×{height}"
                    )
                if image.format == "JPEG" and min(width, height) >= 8 * size:
                    image.draft("RGB", (4 * size, 4 * size))
                return _upright_rgb(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name}: expected one of {', '.join(ALLOWED_FORMATS)}, found something else") from None
    except Image.DecompressionBombError:  # Pillow's own limit, about 179 megapixels, strikes first
        raise ImageError(f"{name}: expected at most {max_pixels / 1e6:.0f} megapixels, found far more") from None
    except Exception as error:  # Pillow's parsers raise anything from SyntaxError to struct.error on damaged files
        raise ImageError(f"{name}: damaged picture: {str(error) or type(error).__name__}") from None


def describe_source(source: Any) -> str:
    """Name a source in messages: its path, or what kind of object it is."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    if isinstance(source, np.ndarray):
        return "<array>"
    if isinstance(source, Image.Image):
        return "<image>"
    raise TypeError(f"expected a path, bytes, PIL image or array, found {type(source).__name__}")


def _image_from_array(array: NDArray[np.uint8], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"{name}: expected uint8 of shape (H, W, 3), found {array.dtype} of shape {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    if 0 in image.size:
        raise ImageError(f"{name}: expected a picture, found {image.size[0]}×{image.size[1]} pixels")
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        return _rgb_from_deep_grey(upright)
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return upright.convert("RGB")


def _rgb_from_deep_grey(image: Image.Image) -> Image.Image:
    """Scale a 16-bit picture to 8 bits; plain ``convert`` would clip everything above 255 to white."""
    values = np.asarray(image, dtype=np.float64)
    grey = np.clip(np.rint(values / 257.0), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
