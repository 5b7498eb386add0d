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
from edge_runtime.imaging.colour import convert_to_rgb
from edge_runtime.imaging.contents import Contents, UnsupportedImageError, read_orientation
from edge_runtime.imaging.formats import identify_format, refusal_of
from edge_runtime.imaging.orientation import make_upright
from edge_runtime.imaging.unfilled_rows import load_every_row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 100_000_000
"""Images with more pixels are refused before they are decoded."""

MAX_FILE_BYTES = 512 * 2**20
"""Larger files are refused unread."""

_READERS = {
    name: f"edge_runtime.imaging.{module}"
    for name, module in (
        ("JPEG", "jpeg"), ("PNG", "png"), ("WebP", "webp"), ("TIFF", "tiff"), ("HEIC", "heif"), ("AVIF", "heif"),
    )
}  # fmt: skip

# Pillow warns about odd metadata and near-bombs; what matters of that is refused below, in words and by name. A filter
# for good rather than `catch_warnings` around each image, which would not be safe with several threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode_image(source: Any, size: int, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a path, bytes, a PIL image or a uint8 array (H, W, 3) to an upright image in sRGB.

    Colours are converted to sRGB by the file's profile, transparent pixels are laid on white. A JPEG with both sides at
    least eight times ``size`` is decoded at reduced scale by the decoder itself, still at least one and a half times
    ``size`` on each side: some ten times faster, and after the stretch to ``size`` the pixels differ by 3 of 255 at
    most on photographs. Raises :class:`ImageError` naming the source, also when any part of the image would have to be
    made up because its data are missing.
    """
    name = describe_source(source)
    if isinstance(source, np.ndarray):
        return _image_from_array(source, name)
    try:
        if isinstance(source, Image.Image):
            return _decode_opened(source, name, max_pixels)
        return _decode_file(source, name, size, max_pixels)
    except ImageError:
        raise
    except UnsupportedImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:  # the decoders raise anything from SyntaxError to struct.error on damaged files
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ImageError(f"{name}: damaged image: {reason}") from None


def _decode_opened(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """Decode what the caller opened with Pillow, with the metadata that Pillow read."""
    _refuse_bombs(image, name, max_pixels)
    image.load()
    orientation = read_orientation(image.info.get("exif") or b"")
    return make_upright(convert_to_rgb(image, image.info.get("icc_profile")), orientation)


def _decode_file(source: Any, name: str, size: int, max_pixels: int) -> Image.Image:
    image, contents = _open(source, name)
    _refuse_bombs(image, name, max_pixels)
    if image.format == "JPEG" and min(image.size) >= 8 * size:
        image.draft("RGB", (size * 3 // 2, size * 3 // 2))
    if contents.scan_end:
        image.load()
    else:
        load_every_row(image)
    orientation = contents.orientation
    if image.info.get("exif"):  # AVIF alone: made by Pillow from the image's properties irot and imir
        orientation = read_orientation(image.info["exif"])
    return make_upright(convert_to_rgb(image, contents.profile), orientation)


def _refuse_bombs(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"{name}: expected at most {max_pixels / 1e6:.0f} megapixels, found {width}×{height}")
    if not width or not height:
        raise ImageError(f"{name}: expected an image, found {width}×{height} pixels")


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


def _open(source: Any, name: str) -> tuple[ImageFile, Contents]:
    data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else _read_file(source, name)
    if not data:
        raise ImageError(f"{name}: expected an image, found an empty file")
    image_format = identify_format(data)
    refusal = refusal_of(image_format)
    if refusal is not None:
        raise ImageError(f"{name}: {refusal}")
    assert image_format is not None and image_format.decoder is not None
    reader = _READERS.get(image_format.name)
    contents = import_module(reader).read_contents(data) if reader else Contents(data)
    module, class_name = image_format.decoder
    decoder = getattr(import_module(module), class_name)
    opened = (
        import_module(_READERS["JPEG"]).CountedJpeg(contents)
        if contents.scan_end
        else decoder(io.BytesIO(contents.data))
    )
    return opened, contents


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
