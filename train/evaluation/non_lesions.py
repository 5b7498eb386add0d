"""Images that are not dermoscopic images, to measure whether a model detects them: from libraries or drawn here.

Photos of everyday things, pages of text, faces and textures come with scikit-image and scikit-learn; noise, blank and
lettered images are drawn; the last kind is lesions corrupted beyond recognition.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.imaging.preprocessing import load_image_hwc
from train.evaluation.corruptions import corrupt

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]

EVERYDAY = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "color.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "logo.png",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
TEXTURES = ("brick.png", "cell.png", "chessboard_RGB.png", "grass.png", "gravel.png", "microaneurysms.png")
MEDICAL = ("retina.jpg", "ihc.png", "phantom.png")
PAGES = ("page.png", "text.png")
_SENTENCE = "The quick brown fox jumps over the lazy dog 0123456789. "
_RUINS = (
    ("gaussian noise", "contrast"),
    ("gaussian noise", "gaussian noise"),
    ("impulse noise", "impulse noise"),
    ("impulse noise", "pixelation"),
    ("shot noise", "darkness"),
)


def other_images(size: int, lesions: Images, seed: int = 0) -> dict[str, Images]:
    """Return kind → images uint8 (n, size, size, 3); the ruined ones are made from ``lesions`` (N, size, size, 3)."""
    generator = np.random.default_rng(seed)
    photos = [*_shipped(EVERYDAY), *_sklearn_photos()]
    return {
        "everyday photos": _with_crops(photos, size, generator),
        "faces": _faces(size),
        "textures": _with_crops(list(_shipped(TEXTURES)), size, generator),
        "other medical images": _with_crops(list(_shipped(MEDICAL)), size, generator),
        "text": np.concatenate([_with_crops(list(_shipped(PAGES)), size, generator), _lettered(size, generator)]),
        "noise": _noise(size, generator),
        "blank": _blank(size, generator),
        "ruined lesions": _ruined(lesions, generator),
    }


def _shipped(names: tuple[str, ...]) -> Iterator[Image.Image]:
    folder = Path(skimage.data.__file__).parent
    for name in names:
        with Image.open(folder / name) as image:
            yield image.convert("RGB")


def _sklearn_photos() -> Iterator[Image.Image]:
    for name in ("china.jpg", "flower.jpg"):
        yield Image.fromarray(sklearn.datasets.load_sample_image(name))


def _with_crops(images: list[Image.Image], size: int, generator: Generator, crops: int = 3) -> Images:
    """Return every image whole and in random crops of half its width and height."""
    rows = []
    for image in images:
        rows.append(load_image_hwc(image, size))
        width, height = image.width // 2, image.height // 2
        for _ in range(crops):
            left = int(generator.integers(image.width - width))
            top = int(generator.integers(image.height - height))
            rows.append(load_image_hwc(image.crop((left, top, left + width, top + height)), size))
    return np.stack(rows)


def _faces(size: int, count: int = 40) -> Images:
    """Labelled Faces in the Wild, the subset that scikit-image ships: 25×25 grey faces, enlarged."""
    grey = np.rint(255 * skimage.data.lfw_subset()[:count]).clip(0, 255).astype(np.uint8)
    return np.stack([load_image_hwc(Image.fromarray(face).convert("RGB"), size) for face in grey])


def _lettered(size: int, generator: Generator, count: int = 12) -> Images:
    rows = []
    for _ in range(count):
        paper, ink = (tuple(int(one) for one in generator.integers(low, low + 90, 3)) for low in (160, 0))
        image = Image.new("RGB", (size, size), paper)
        points = int(generator.integers(9, 40))
        text = "\n".join(_SENTENCE[start:] for start in range(40))
        ImageDraw.Draw(image).multiline_text((4, 4), text, fill=ink, font=ImageFont.load_default(points))
        rows.append(np.asarray(image))
    return np.stack(rows)


def _noise(size: int, generator: Generator, count: int = 10) -> Images:
    """Uniform, Gaussian and coarse coloured noise."""
    rows = [generator.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]
    for _ in range(count):
        mean, sigma = generator.uniform(80, 180, 3), generator.uniform(20, 70)
        rows.append(np.clip(generator.normal(mean, sigma, (size, size, 3)), 0, 255).astype(np.uint8))
        cells = generator.integers(0, 256, (int(generator.integers(4, 40)), 20, 3), dtype=np.uint8)
        rows.append(load_image_hwc(Image.fromarray(cells).resize((size, size), Image.Resampling.NEAREST), size))
    return np.stack(rows)


def _blank(size: int, generator: Generator, count: int = 20) -> Images:
    """Black, white, plain colours (skin-like ones too) and gradients between two."""
    rows = [np.full((size, size, 3), value, dtype=np.uint8) for value in (0, 255, 128)]
    skin = np.array([214, 160, 150])
    for number in range(count):
        first = generator.integers(0, 256, 3) if number % 3 else np.clip(skin + generator.normal(0, 15, 3), 0, 255)
        second = generator.integers(0, 256, 3) if number % 2 else first
        share = np.linspace(0, 1, size)[:, None, None]
        rows.append(np.broadcast_to((1 - share) * first + share * second, (size, size, 3)).astype(np.uint8))
    return np.stack(rows)


def _ruined(lesions: Images, generator: Generator, count: int = 40) -> Images:
    chosen = generator.permutation(len(lesions))[:count]
    rows = []
    for place, index in enumerate(chosen):
        image = lesions[index]
        for name in _RUINS[place % len(_RUINS)]:
            image = corrupt(name, image, 5, generator)
        rows.append(image)
    return np.stack(rows)
