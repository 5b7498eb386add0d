"""The class-activation map as an image: coarse map → heat over the image, and PNG bytes.

Selvaraju et al.: Grad-CAM, ICCV 2017. The map is scaled to its own maximum, so colours say *where* the evidence for a
class lies within one image; they do not compare images.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOUR_STOPS = np.array(
    [[48, 18, 59], [70, 107, 227], [40, 187, 235], [50, 241, 151], [163, 252, 60], [237, 208, 58], [251, 128, 34],
     [210, 49, 5], [122, 4, 3]],
    dtype=np.float64,
)  # fmt: skip
"""Evenly spaced stops of the "turbo" colour map (Mikhailov 2019, Apache 2.0), from cold to hot, sRGB 0..255."""

MAX_OPACITY = 0.65


def upsample_map(class_activation_map: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return the map scaled to its maximum and enlarged bicubically: float32 of shape (height, width), 0..1.

    A map without any evidence (all zero) stays zero.
    """
    peak = float(class_activation_map.max(initial=0.0))
    scaled = class_activation_map / peak if peak > 0 else np.zeros_like(class_activation_map)
    coarse = Image.fromarray(np.asarray(scaled, dtype=np.float32))
    enlarged = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    clipped: NDArray[np.float32] = np.clip(enlarged, 0.0, 1.0)
    return clipped


def render_heat(class_activation_map: NDArray[np.float32], width: int, height: int) -> Image.Image:
    """Return the map alone as RGBA, transparent where there is no evidence: what a page lays over its image."""
    heat = upsample_map(class_activation_map, width, height).astype(np.float64)
    positions = np.linspace(0.0, 1.0, len(COLOUR_STOPS))
    channels = [np.interp(heat, positions, COLOUR_STOPS[:, channel]) for channel in range(3)]
    opacity = 255 * np.minimum(1.0, heat * 1.5)
    rgba = np.stack([*channels, opacity], axis=-1)
    return Image.fromarray(np.rint(rgba).astype(np.uint8), "RGBA")


def render_overlay(image_hwc: NDArray[np.uint8], class_activation_map: NDArray[np.float32]) -> Image.Image:
    """Lay the map over an image. ``image_hwc`` is uint8 (H, W, 3); returns an RGB image of the same size."""
    height, width = image_hwc.shape[:2]
    heat = np.asarray(render_heat(class_activation_map, width, height), dtype=np.float64)
    opacity = heat[..., 3:] / 255 * MAX_OPACITY
    blended = image_hwc * (1 - opacity) + heat[..., :3] * opacity
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def render_side_by_side(image_hwc: NDArray[np.uint8], class_activation_map: NDArray[np.float32]) -> Image.Image:
    """Return the raw image with the overlay to its right: RGB of size (2·W, H)."""
    height, width = image_hwc.shape[:2]
    both = Image.new("RGB", (2 * width, height))
    both.paste(Image.fromarray(np.ascontiguousarray(image_hwc)), (0, 0))
    both.paste(render_overlay(image_hwc, class_activation_map), (width, 0))
    return both


def encode_png(image: Image.Image) -> bytes:
    """Return the image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
