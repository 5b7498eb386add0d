"""Bytes of an image → upright RGB, and every way in which that can fail.

The decoder is chosen by the file's content (:mod:`edge_runtime.imaging.formats`), and only that one is imported and
run. Of an animation or a file of several pages the first image counts.
"""

from __future__ import annotations

import io
import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import identify_format, refusal_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""Images with more pixels are refused before they are decoded."""

MAX_FILE_BYTES = 512 * 2**20
"""Larger files are refused unread."""

_ORIENTATION = 0x0112

# Pillow warns about odd metadata and near-bombs; what matters of that is refused below, in words and by name. A filter
# for good rather than `catch_warnings` around each image, which would not be safe with several threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode_image(source: Any, size: int, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a path, bytes, a PIL image or a uint8 array (H, W, 3) to an upright RGB image.

    A JPEG with both sides at least eight times ``size`` is decoded at reduced scale by the decoder itself, still at
    least one and a half times ``size`` on each side: some ten times faster, and after the stretch to ``size`` the
    pixels differ by 3 of 255 at most on photographs. Raises :class:`ImageError` naming the source.
    """
    name = describe_source(source)
    if isinstance(source, np.ndarray):
        return _image_from_array(source, name)
    try:
        image = source if isinstance(source, Image.Image) else _open(source, name)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f"{name}: expected at most {max_pixels / 1e6:.0f} megapixels, found {width}×{height}")
        if image.format == "JPEG" and min(width, height) >= 8 * size and image is not source:
            image.draft("RGB", (size * 3 // 2, size * 3 // 2))
        return _upright_rgb(image, name)
    except ImageError:
        raise
    except Exception as error:  # the parsers raise anything from SyntaxError to struct.error on damaged files
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ImageError(f"{name}: damaged image: {reason}") from None


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


def _open(source: Any, name: str) -> Image.Image:
    data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else _read_file(source, name)
    if not data:
        raise ImageError(f"{name}: expected an image, found an empty file")
    image: Image.Image = _find_parser(data, name)(io.BytesIO(data))
    return image


def _find_parser(data: bytes, name: str) -> Any:
    image_format = identify_format(data)
    refusal = refusal_of(image_format)
    if refusal is not None:
        raise ImageError(f"{name}: {refusal}")
    assert image_format is not None and image_format.decoder is not None
    module, class_name = image_format.decoder
    return getattr(import_module(module), class_name)


def _read_file(source: Any, name: str) -> bytes:
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the name
        raise ImageError(f"{name!r}: cannot be read: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name}: expected at most {MAX_FILE_BYTES // 2**20} MiB, found more")
    return data


def _image_from_array(array: NDArray[np.uint8], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"{name}: expected uint8 of shape (H, W, 3), found {array.dtype} of shape {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    if 0 in image.size:
        raise ImageError(f"{name}: expected an image, found {image.size[0]}×{image.size[1]} pixels")
    image.load()
    if image.getexif().get(_ORIENTATION, 1) != 1:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _rgb_from_deep_grey(image, name)
    if image.mode == "F":
        raise ImageError(f"{name}: expected 8 or 16 bits a channel, found floating-point numbers")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _rgb_from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """Scale a 16-bit image to 8 bits; plain ``convert`` would clip everything above 255 to white."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"{name}: expected 8 or 16 bits a channel, found 32")
    grey = np.rint(values / 257.0).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
