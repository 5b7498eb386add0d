"""Corrupted images at five severities: noise, blur, exposure, colour, compression, hair.

Kinds and strengths after Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019 (ImageNet-C, made for images of 224 pixels), plus two that are common in dermoscopy: colour
casts and hair. ``corrupt(name, image, severity, generator)`` takes and returns uint8 (H, W, 3).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage, signal

from edge_runtime.errors import DataError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    ImageArray = NDArray[np.uint8]
    Floats = NDArray[np.floating[Any]]

SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(name: str, image_hwc: ImageArray, severity: int, generator: Generator) -> ImageArray:
    """Return a corrupted copy, uint8 of the same shape. Raises :class:`DataError` for an unknown name or severity."""
    if name not in CORRUPTIONS:
        raise DataError(f"corruption: expected one of {', '.join(CORRUPTIONS)}, found {name!r}")
    if severity not in SEVERITIES:
        raise DataError(f"severity: expected 1 to 5, found {severity}")
    values = image_hwc.astype(np.float32) / np.float32(255)
    changed = CORRUPTIONS[name](values, severity - 1, generator)
    return np.rint(np.clip(changed, 0.0, 1.0) * 255).astype(np.uint8)


def _gaussian_noise(values: Floats, step: int, generator: Generator) -> Floats:
    sigma = (0.08, 0.12, 0.18, 0.26, 0.38)[step]
    return values + sigma * generator.standard_normal(values.shape, dtype=np.float32)


def _shot_noise(values: Floats, step: int, generator: Generator) -> Floats:
    photons = (60, 25, 12, 5, 3)[step]
    return generator.poisson(values * photons) / photons


def _impulse_noise(values: Floats, step: int, generator: Generator) -> Floats:
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[step]
    chance = generator.random(values.shape)
    return np.where(chance < share / 2, 0.0, np.where(chance < share, 1.0, values))


def _defocus_blur(values: Floats, step: int, generator: Generator) -> Floats:
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[step]
    reach = np.arange(-radius, radius + 1)
    disc = (np.hypot(reach, reach[:, None]) <= radius).astype(np.float32)
    return _filtered(values, ndimage.gaussian_filter(disc, softness))


def _motion_blur(values: Floats, step: int, generator: Generator) -> Floats:
    length = (10, 15, 20, 27, 35)[step]
    line = np.zeros((length, length), dtype=np.float32)
    line[length // 2] = 1.0
    return _filtered(values, ndimage.rotate(line, generator.uniform(-45, 45), reshape=True, order=1))


def _zoom_blur(values: Floats, step: int, generator: Generator) -> Floats:
    largest = (1.11, 1.16, 1.21, 1.26, 1.31)[step]
    height, width = values.shape[:2]
    image = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    total = values.copy()
    zooms = np.arange(1.01, largest, 0.02)
    for zoom in zooms:
        left, top = width * (1 - 1 / zoom) / 2, height * (1 - 1 / zoom) / 2
        near = image.resize((width, height), Image.Resampling.BILINEAR, (left, top, width - left, height - top))
        total += np.asarray(near, dtype=np.float32) / np.float32(255)
    return total / (len(zooms) + 1)


def _brightness(values: Floats, step: int, generator: Generator) -> Floats:
    return values + (0.1, 0.2, 0.3, 0.4, 0.5)[step]


def _darkness(values: Floats, step: int, generator: Generator) -> Floats:
    return values * (0.8, 0.65, 0.5, 0.35, 0.22)[step]


def _contrast(values: Floats, step: int, generator: Generator) -> Floats:
    mean = values.mean(axis=(0, 1), keepdims=True)
    return mean + (0.4, 0.3, 0.2, 0.1, 0.05)[step] * (values - mean)


def _saturation(values: Floats, step: int, generator: Generator) -> Floats:
    grey = values.mean(axis=2, keepdims=True)
    return grey + (0.3, 0.1, 1.6, 2.2, 3.0)[step] * (values - grey)


def _colour_cast(values: Floats, step: int, generator: Generator) -> Floats:
    strength = (0.06, 0.1, 0.15, 0.2, 0.28)[step]
    direction = generator.normal(size=3)
    return values * np.exp(strength * direction / np.abs(direction).max()).astype(np.float32)


def _jpeg(values: Floats, step: int, generator: Generator) -> Floats:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(buffer, "JPEG", quality=(25, 18, 15, 10, 7)[step])
    with Image.open(buffer) as image:
        return np.asarray(image, dtype=np.float32) / np.float32(255)


def _pixelation(values: Floats, step: int, generator: Generator) -> Floats:
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[step]
    height, width = values.shape[:2]
    image = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    small = image.resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST), dtype=np.float32) / np.float32(255)


def _hair(values: Floats, step: int, generator: Generator) -> Floats:
    count = (4, 8, 15, 25, 40)[step]
    height, width = values.shape[:2]
    mask = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(mask)
    along = np.linspace(-1.0, 1.0, 12)[:, None]
    for _ in range(count):
        heading = generator.uniform(0, np.pi)
        forwards = np.array([np.cos(heading), np.sin(heading)])
        sideways = np.array([-forwards[1], forwards[0]])
        middle = generator.uniform((0, 0), mask.size)
        length, bend = generator.uniform(0.1, 0.5) * width, generator.normal() * 0.1 * width
        points = middle + length * along * forwards + bend * along**2 * sideways
        draw.line([(float(x), float(y)) for x, y in points], fill=int(generator.uniform(150, 255)), width=3)
    cover = np.asarray(mask.filter(ImageFilter.BoxBlur(1)).reduce(2), dtype=np.float32)[..., None] / np.float32(255)
    return values * (1 - cover) + np.array([0.16, 0.11, 0.08], dtype=np.float32) * cover


def _filtered(values: Floats, kernel: Floats) -> Floats:
    """Convolve every channel with the kernel, normalised to sum one; the image is reflected at its edges."""
    rows, columns = (size // 2 for size in kernel.shape)
    padded = np.pad(
        values, ((rows, kernel.shape[0] - 1 - rows), (columns, kernel.shape[1] - 1 - columns), (0, 0)), "reflect"
    )
    return signal.oaconvolve(padded, (kernel / kernel.sum())[..., None], mode="valid", axes=(0, 1))


CORRUPTIONS: dict[str, Callable[[Any, int, Any], Any]] = {
    "gaussian noise": _gaussian_noise,
    "shot noise": _shot_noise,
    "impulse noise": _impulse_noise,
    "defocus blur": _defocus_blur,
    "motion blur": _motion_blur,
    "zoom blur": _zoom_blur,
    "brightness": _brightness,
    "darkness": _darkness,
    "contrast": _contrast,
    "saturation": _saturation,
    "colour cast": _colour_cast,
    "JPEG": _jpeg,
    "pixelation": _pixelation,
    "hair": _hair,
}
