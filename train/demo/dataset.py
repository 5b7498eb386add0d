"""The demo set: procedural "phantoms" of the seven classes in the HAM10000 layout, for running without data.

Drawn by code from a seed, they look enough like dermoscopic images to exercise the whole chain. They say nothing about
real skin: whatever was trained on them is labelled as a demo. The folder contains ``DEMO.txt``, which says so and by
which other code recognises it.

    python -m train.demo.dataset --output data/demo --lesions 700
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image
from tqdm import tqdm

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import DataError, run_command_line
from edge_runtime.settings import OneLineParser, parse_settings
from train.demo.lesions import draw_lesion
from train.demo.marker import DEMO_MARKER
from train.demo.patients import Patient, draw_patient
from train.demo.views import draw_skin, take_image

DEFAULT_LESIONS = 700
GENERATOR_VERSION = 1
"""Raised when the images change, so that old folders are generated again."""

JPEG_QUALITY = 90
JPEG_COMMENT = b"dermedge demo phantom: drawn by a program, not a patient"

CLASS_CODES = ham10000().codes
CLASS_SHARES = {"akiec": 0.10, "bcc": 0.12, "bkl": 0.13, "df": 0.10, "mel": 0.14, "nv": 0.31, "vasc": 0.10}
"""Imbalanced as in practice, but milder than HAM10000, so that a small set has some of each class in every subset."""

VIEW_SHARES = (0.70, 0.22, 0.08)
"""Shares of lesions with one, two and three images, as in HAM10000."""

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


@dataclass(frozen=True)
class _Lesion:
    """One lesion to draw: its number (from 1), class, and the ids of its images."""

    number: int
    code: str
    image_ids: tuple[str, ...]


def write_demo_dataset(
    folder: Path, lesions: int = DEFAULT_LESIONS, seed: int = 0, *, workers: int | None = None
) -> Path:
    """Write the demo set of ``lesions`` lesions into ``folder`` and return it; the same seed gives the same images.

    A folder that already holds exactly this set is left alone; another demo set is replaced. The folder appears whole
    or not at all. Raises :class:`DataError` when ``folder`` holds anything else.
    """
    if lesions < len(CLASS_CODES):
        raise DataError(f"demo data: expected at least {len(CLASS_CODES)} lesions, one per class, found {lesions}")
    note = _marker_text(lesions, seed)
    marker = folder / DEMO_MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == note:
        return folder
    if folder.exists() and not marker.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: expected an empty or a demo folder (one with {DEMO_MARKER}), found other files")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as partial:
        new = Path(partial) / "new"
        _draw_all(new, _plan(lesions, seed), seed, workers or os.cpu_count() or 1)
        (new / DEMO_MARKER).write_text(note, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    return folder


def draw_phantom(code: str, seed: int = 0, view: int = 0) -> Image.Image:
    """Return one phantom of the class ``code``, RGB of 600×450; other ``view`` numbers show the same lesion anew."""
    return next(_images(code, (seed, CLASS_CODES.index(code)), [view]))


def _plan(lesions: int, seed: int) -> list[_Lesion]:
    """Decide classes and image ids. Ids are dealt at random, so that a lesion's images do not lie together."""
    generator = np.random.default_rng([seed, lesions])
    shares = np.array([CLASS_SHARES[code] for code in CLASS_CODES])
    counts = 1 + np.floor(shares * (lesions - len(CLASS_CODES))).astype(int)
    counts[CLASS_CODES.index("nv")] += lesions - counts.sum()
    codes = generator.permutation(np.repeat(np.arange(len(CLASS_CODES)), counts))
    views = generator.choice([1, 2, 3], size=lesions, p=VIEW_SHARES)
    ids = iter(generator.permutation(int(views.sum())) + 1)
    return [
        _Lesion(number, CLASS_CODES[code], tuple(f"ISIC_{next(ids):07d}" for _ in range(count)))
        for number, (code, count) in enumerate(zip(codes, views, strict=True), start=1)
    ]


def _draw_all(folder: Path, plan: list[_Lesion], seed: int, workers: int) -> None:
    parts = [folder / f"HAM10000_images_part_{number}" for number in (1, 2)]
    for part in parts:
        part.mkdir(parents=True)
    all_ids = sorted(image_id for lesion in plan for image_id in lesion.image_ids)
    part_of = {image_id: parts[2 * place // len(all_ids)] for place, image_id in enumerate(all_ids)}

    def draw(lesion: _Lesion) -> tuple[_Lesion, Patient]:
        start = (seed, lesion.number)
        for image_id, image in zip(
            lesion.image_ids, _images(lesion.code, start, range(len(lesion.image_ids))), strict=True
        ):
            image.save(part_of[image_id] / f"{image_id}.jpg", quality=JPEG_QUALITY, comment=JPEG_COMMENT)
        return lesion, draw_patient(lesion.code, np.random.default_rng([*start, 0]))

    # threads, because Pillow and numpy work outside the interpreter's lock
    with ThreadPoolExecutor(workers) as pool:
        drawn = list(tqdm(pool.map(draw, plan), "drawing demo lesions", len(plan), unit="lesion", disable=None))
    with (folder / "HAM10000_metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for lesion, patient in drawn:
            for image_id in lesion.image_ids:
                identity = (f"HAM_{lesion.number:07d}", image_id, lesion.code)
                writer.writerow((*identity, patient.dx_type, patient.age, patient.sex, patient.site))


def _images(code: str, start: tuple[int, int], views: Iterable[int]) -> Iterator[Image.Image]:
    """Draw the lesion once and photograph it in each view; every random number comes from ``start`` and the view."""
    generator = np.random.default_rng([*start, 1])
    maps_hwc = draw_lesion(code, generator).to_bytes_hwc()
    skin = draw_skin(generator)
    size = generator.uniform(0.35, 0.75)
    for view in views:
        yield take_image(maps_hwc, skin, size, np.random.default_rng([*start, 2, view]))


def _marker_text(lesions: int, seed: int) -> str:
    return (
        "These images were drawn by a program to try out dermedge. They show no patients and teach nothing about\n"
        "real skin; a model trained on them has no medical meaning.\n"
        f"generator {GENERATOR_VERSION}, lesions {lesions}, seed {seed}\n"
    )


class DemoOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.demo.dataset``."""

    output: Annotated[Path, Meta(description="folder to write", extra={"metavar": "FOLDER"})] = Path("data/demo")
    lesions: Annotated[
        int, Meta(ge=len(CLASS_CODES), description="number of lesions; some get two or three images")
    ] = DEFAULT_LESIONS
    seed: Annotated[int, Meta(ge=0, description="the same seed gives the same images")] = 0


def make_parser() -> OneLineParser:
    """The parser, before its flags are added."""
    return OneLineParser(
        prog="python -m train.demo.dataset",
        description="Draw a demo set of phantoms in the HAM10000 layout.",
        epilog="example: python -m train.demo.dataset --output data/demo --lesions 700",
    )


def main(arguments: list[str] | None = None) -> int:
    """Write a demo set; returns the exit status."""
    options = parse_settings(make_parser(), DemoOptions, arguments)
    folder = write_demo_dataset(options.output, options.lesions, options.seed)
    images = sum(1 for _ in folder.glob("*/*.jpg"))
    print(f"{folder}: {images} images of {options.lesions} lesions, {len(CLASS_CODES)} classes (demo phantoms)")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command_line(main))
