"""Decoded pixels of any kind → RGB in sRGB: colour profiles, transparency, greyscale, palettes and deep images."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime.imaging.contents import UnsupportedImageError
from edge_runtime.imaging.icc import is_srgb

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_MAX_PROFILE_BYTES = 4 * 2**20
_UNNOTICEABLE = 1


def convert_to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a decoded image as RGB in sRGB.

    ``profile`` is the ICC profile of its colours; one that is broken, of other channels than the image, or as good as
    sRGB, changes nothing. Transparency is laid on white. An image that is transparent everywhere shows its colours
    as they are: programs that know nothing of transparency leave such files. Raises
    :class:`UnsupportedImageError` for more than 16 bits a channel.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return _apply_profile(image, profile)
    if image.mode.startswith("I"):
        return _apply_profile(_eight_bit_grey(image), profile)
    if image.mode == "F":
        raise UnsupportedImageError("expected 8 or 16 bits a channel, found floating-point numbers")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _lay_on_white(image, profile)
    if image.mode == "1":
        image = image.convert("L")
    return _apply_profile(image if image.mode in ("L", "CMYK") else image.convert("RGB"), profile)


def _lay_on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    is_grey = image.mode in ("L", "LA", "La", "1")
    colours = _apply_profile(rgba.getchannel("R") if is_grey else rgba.convert("RGB"), profile)
    lowest, highest = alpha.getextrema()
    if highest == 0 or lowest == 255:
        return colours
    colours.putalpha(alpha)
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, colours).convert("RGB")


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    """Scale a 16-bit image to 8 bits; plain ``convert`` would clip everything above 255 to white."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnsupportedImageError("expected 8 or 16 bits a channel, found 32")
    return Image.fromarray(np.rint(values / 257.0).astype(np.uint8))


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of mode RGB, L or CMYK as RGB, converted where its profile says that it is not sRGB."""
    if profile is not None and _SPACES.get(profile[16:20]) == image.mode:
        transform = _transform_of(profile, image.mode)
        if transform is not None:
            from PIL import ImageCms

            converted = ImageCms.applyTransform(image, transform)
            assert converted is not None
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform_of(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """Return what converts to sRGB, or ``None`` for a profile that needs no conversion or allows none."""
    if len(profile) > _MAX_PROFILE_BYTES or is_srgb(profile):
        return None
    import io

    from PIL import ImageCms  # loads lcms, which most images do not need

    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if mode == "L":
        flags |= ImageCms.Flags.NOOPTIMIZE  # lcms would interpolate between 33 levels, 10 levels wrong in dark areas
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags,
        )
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # broken: the colours are taken as they stand, as everywhere else


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a transform moves no colour of a grid by more than one level."""
    from PIL import ImageCms

    levels = np.arange(0, 256, 17, dtype=np.uint8)
    if mode == "L":
        grid = Image.fromarray(levels[None, :])
    else:
        colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
        grid = Image.fromarray(np.ascontiguousarray(colours))
    changed = np.asarray(ImageCms.applyTransform(grid, transform), dtype=int)
    return bool(np.abs(changed - np.asarray(grid.convert("RGB"))).max() <= _UNNOTICEABLE)
