"""One image of a phantom: skin, the lesion in some pose, light, lens, hair, ruler and sensor noise.

Two views of one lesion share its optical maps and the patient's skin, and differ in everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from train.demo.fields import SIDE, smooth_noise
from train.demo.lesions import MAP_SCALE

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    ImageArray = NDArray[np.floating[Any]]

WIDTH, HEIGHT = 600, 450
"""Size of HAM10000's images, in pixels."""

MELANIN_ABSORPTION = np.array([0.62, 1.0, 1.4], dtype=np.float32)
BLOOD_ABSORPTION = np.array([0.20, 1.05, 0.80], dtype=np.float32)
"""Relative absorption in red, green and blue: melanin rises towards blue, haemoglobin peaks in green."""

WHITE_COLOUR = np.array([0.95, 0.90, 0.86], dtype=np.float32)
BLUE_COLOUR = np.array([0.40, 0.45, 0.58], dtype=np.float32)
SKIN_TONES = np.array(
    [[0.93, 0.76, 0.74], [0.92, 0.70, 0.66], [0.86, 0.68, 0.62], [0.90, 0.66, 0.56], [0.78, 0.62, 0.58],
     [0.72, 0.54, 0.46], [0.58, 0.42, 0.34]],
    dtype=np.float32,
)  # fmt: skip
"""Skin under a dermatoscope's light, RGB 0..1, from pink to brown."""

_COLUMNS, _ROWS = WIDTH // 2, HEIGHT // 2
"""Skin and lesion are smooth, so they are rendered at half size and enlarged; hair and grain are drawn at full size."""

_U = np.linspace(-1.0, 1.0, _COLUMNS, dtype=np.float32)
_V = np.linspace(-HEIGHT / WIDTH, HEIGHT / WIDTH, _ROWS, dtype=np.float32)[:, np.newaxis]
_FROM_CENTRE = np.hypot(_U, _V)


@dataclass(frozen=True)
class Skin:
    """What belongs to the patient: colour (3,) RGB 0..1, how blotchy and how hairy the skin is (0..1)."""

    colour: ImageArray
    blotchiness: float
    hairiness: float


def draw_skin(generator: Generator) -> Skin:
    """Draw a patient's skin between two neighbouring tones; pale ones are likelier, as in HAM10000."""
    place = (len(SKIN_TONES) - 1) * generator.beta(1.2, 2.2)
    below = int(place)
    colour = SKIN_TONES[below] + (place - below) * (SKIN_TONES[min(below + 1, len(SKIN_TONES) - 1)] - SKIN_TONES[below])
    return Skin(colour.astype(np.float32), generator.uniform(0.2, 1.0), float(generator.random() ** 2))


def take_image(maps_hwc: NDArray[np.uint8], skin: Skin, size: float, generator: Generator) -> Image.Image:
    """Return one RGB image of WIDTH × HEIGHT.

    ``maps_hwc`` are the lesion's optical maps (SIDE, SIDE, 4), ``size`` the canvas's half side as a fraction of the
    image's height.
    """
    posed = _pose(maps_hwc, size * generator.uniform(0.82, 1.2), generator)
    scene = _lesion_on_skin(_skin_texture(skin, generator), posed) * _illumination(generator)
    developed = Image.fromarray(_develop(scene, generator))
    blur = generator.uniform(-0.3, 0.8)
    if blur > 0.2:
        developed = developed.filter(ImageFilter.GaussianBlur(blur))
    image = developed.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    _draw_artefacts(image, skin, generator)
    return Image.fromarray(_with_grain(np.asarray(image), generator))


def _pose(maps_hwc: NDArray[np.uint8], size: float, generator: Generator) -> ImageArray:
    """Turn, mirror, scale and shift the lesion into the frame; float32 (rows, columns, 4) in map units."""
    angle = generator.uniform(0, 2 * np.pi)
    scale = SIDE / (2 * size * _ROWS)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    mirror = generator.choice([-1.0, 1.0])
    centre_x = _COLUMNS * (0.5 + 0.06 * generator.normal())
    centre_y = _ROWS * (0.5 + 0.06 * generator.normal())
    a, b, d, e = cosine, -sine * mirror, sine, cosine * mirror
    c = SIDE / 2 - a * centre_x - b * centre_y
    f = SIDE / 2 - d * centre_x - e * centre_y
    # CMYK is Pillow's four-channel mode without the meaning of transparency
    canvas = Image.fromarray(maps_hwc, "CMYK")
    posed = canvas.transform(
        (_COLUMNS, _ROWS), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR, fillcolor=(0, 0, 0, 0)
    )
    return np.asarray(posed, dtype=np.float32) / np.float32(MAP_SCALE)


def _skin_texture(skin: Skin, generator: Generator) -> ImageArray:
    """Return skin without the lesion: blotches of redness, furrows, pores; float32 (rows, columns, 3)."""
    redness = 0.09 * skin.blotchiness * smooth_noise(generator, 7, _COLUMNS, _ROWS)
    tan = 0.05 * skin.blotchiness * smooth_noise(generator, 14, _COLUMNS, _ROWS)
    furrows = 0.05 * abs(smooth_noise(generator, 60, _COLUMNS, _ROWS))
    absorbed = redness[..., np.newaxis] * BLOOD_ABSORPTION + (tan + furrows)[..., np.newaxis] * MELANIN_ABSORPTION
    return skin.colour * np.exp(-absorbed)


def _lesion_on_skin(skin_image: ImageArray, posed: ImageArray) -> ImageArray:
    melanin, blood, white, blue = (posed[..., channel, np.newaxis] for channel in range(4))
    image = skin_image * np.exp(-(melanin * MELANIN_ABSORPTION + blood * BLOOD_ABSORPTION))
    image += np.minimum(blue, 0.85) * (BLUE_COLOUR - image)
    image += np.minimum(white, 0.85) * (WHITE_COLOUR * skin_image.mean() * 1.25 - image)
    return image


def _illumination(generator: Generator) -> ImageArray:
    """Return the light's colour and fall-off, float32 (rows, columns, 3); some lenses darken the corners."""
    slope_x, slope_y = generator.normal(size=2) * 0.06
    vignette = generator.uniform(0.0, 0.35) if generator.random() < 0.6 else 0.0
    light = 1.0 + np.float32(slope_x) * _U + np.float32(slope_y) * _V
    light = light * (1.0 - np.float32(vignette) * np.clip(_FROM_CENTRE - 0.45, 0.0, None))
    if generator.random() < 0.05:  # the black ring of an eyepiece
        edge = generator.uniform(1.0, 1.15)
        light = light * np.clip((edge - _FROM_CENTRE) * 14, 0.03, 1.0)
    cast = generator.uniform(0.88, 1.1) * np.array([1.0, *generator.normal(1.0, 0.035, 2)], dtype=np.float32)
    return light[..., np.newaxis] * cast.astype(np.float32)


def _develop(image: ImageArray, generator: Generator) -> NDArray[np.uint8]:
    """Apply the camera's contrast and saturation; uint8 (rows, columns, 3)."""
    contrast, saturation = generator.uniform(0.88, 1.18), generator.uniform(0.85, 1.2)
    grey = image @ np.full((3, 1), 1 / 3, dtype=np.float32)
    image = 0.6 + np.float32(contrast) * (grey + np.float32(saturation) * (image - grey) - 0.6)
    return np.clip(image * 255.0, 0.0, 255.0).astype(np.uint8)


def _with_grain(image_hwc: NDArray[np.uint8], generator: Generator) -> NDArray[np.uint8]:
    """Add the sensor's noise, the same in all channels; uint8 (HEIGHT, WIDTH, 3)."""
    deviation = np.float32(generator.uniform(1.5, 7.0))
    grain = (generator.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * deviation).astype(np.int16)
    return np.clip(image_hwc + grain[..., np.newaxis], 0, 255).astype(np.uint8)


def _draw_artefacts(image: Image.Image, skin: Skin, generator: Generator) -> None:
    draw = ImageDraw.Draw(image, "RGBA")
    if generator.random() < 0.25 + 0.5 * skin.hairiness:
        _draw_hair(draw, 2 + int(generator.random() * (5 + 18 * skin.hairiness)), generator)
    if generator.random() < 0.15:
        _draw_ruler(draw, generator)
    if generator.random() < 0.2:
        _draw_bubbles(draw, int(generator.integers(1, 7)), generator)


def _draw_hair(draw: ImageDraw.ImageDraw, count: int, generator: Generator) -> None:
    shade = generator.uniform(0.1, 0.5) * np.array([200.0, 150.0, 110.0])
    direction = generator.uniform(0, np.pi)
    steps = np.linspace(-1.0, 1.0, 14)
    for _ in range(count):
        heading = direction + generator.normal() * 0.45
        along = np.array([np.cos(heading), np.sin(heading)])
        across = np.array([-along[1], along[0]])
        middle = generator.uniform((0, 0), (WIDTH, HEIGHT))
        length, bend = generator.uniform(60, 260), generator.normal() * 40
        points = middle + length * steps[:, None] * along + bend * (steps[:, None] ** 2) * across
        colour = (*(int(channel) for channel in shade), int(generator.uniform(130, 235)))
        draw.line([tuple(point) for point in points], fill=colour, width=int(generator.integers(1, 4)), joint="curve")


def _draw_ruler(draw: ImageDraw.ImageDraw, generator: Generator) -> None:
    spacing, base = generator.uniform(9, 16), HEIGHT - generator.uniform(2, 14)
    shade = (30, 32, 48, 210) if generator.random() < 0.6 else (60, 70, 190, 200)
    for tick in range(int(WIDTH / spacing)):
        length = 26 if tick % 10 == 0 else 18 if tick % 5 == 0 else 11
        draw.line([(tick * spacing, base), (tick * spacing, base - length)], fill=shade, width=2)


def _draw_bubbles(draw: ImageDraw.ImageDraw, count: int, generator: Generator) -> None:
    for _ in range(count):
        x, y = generator.uniform((0, 0), (WIDTH, HEIGHT))
        radius = generator.uniform(4, 22)
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=(255, 255, 255, 18), outline=(255, 255, 255, 120)
        )
        draw.ellipse((x - radius / 2, y - radius / 2, x - radius / 5, y - radius / 5), fill=(255, 255, 255, 190))
