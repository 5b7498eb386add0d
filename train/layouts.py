"""The layouts a data set may have on disk, each recognised by itself.

* HAM10000 as on Kaggle and Dataverse: ``HAM10000_metadata.csv`` (on Dataverse without suffix) and folders of pictures.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.classes import CLASS_CODES
from edge_runtime.errors import DataError
from edge_runtime.preprocessing import IMAGE_SUFFIXES
from train.records import LesionRecord


@dataclass(frozen=True)
class Layout:
    """How to recognise and read one way of arranging a data set; ``read`` returns records and missing image ids."""

    name: str
    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], tuple[list[LesionRecord], list[str]]]


def find_images(folder: Path) -> dict[str, Path]:
    """Map image id (file name without suffix) to path for all pictures below ``folder``; the first found wins."""
    images: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in IMAGE_SUFFIXES and not file.startswith("."):
                images.setdefault(stem, Path(parent) / file)
    return images


def read_table(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file that must have ``columns``; returns (line number, row) pairs with stripped values."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            found = [name.strip() for name in reader.fieldnames or ()]
            for column in columns:
                if column not in found:
                    raise DataError(f"{path}: missing column {column!r}, found {', '.join(found) or 'an empty file'}")
            reader.fieldnames = found
            return [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)})
                for row in reader
            ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV table: {error}") from None


def parse_label(value: str, place: str) -> int:
    """Class code in any case → index; ``place`` names file and line in the message."""
    code = value.lower()
    if code not in CLASS_CODES:
        raise DataError(f"{place}: unknown class {value!r}, expected one of {' '.join(CLASS_CODES)}")
    return CLASS_CODES.index(code)


def parse_age(value: str, place: str) -> float | None:
    """Years as a number, ``None`` for an empty or unknown value."""
    if value.lower() in ("", "unknown", "nan", "na"):
        return None
    try:
        age = float(value)
    except ValueError:
        raise DataError(f"{place}: expected an age in years, found {value!r}") from None
    if not 0 <= age <= 130:
        raise DataError(f"{place}: expected an age of 0 to 130 years, found {value!r}")
    return age


def parse_word(value: str) -> str | None:
    """Lower case; ``None`` for an empty or unknown value."""
    word = value.lower()
    return None if word in ("", "unknown", "nan", "na") else word


_HAM_TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")


def _ham_table(folder: Path) -> Path | None:
    return next((folder / name for name in _HAM_TABLES if (folder / name).is_file()), None)


def _read_ham10000(folder: Path) -> tuple[list[LesionRecord], list[str]]:
    table = _ham_table(folder)
    if table is None:
        raise DataError(f"{folder}: expected {_HAM_TABLES[0]}, found none")
    images = find_images(folder)
    records: list[LesionRecord] = []
    missing: list[str] = []
    seen: set[str] = set()
    for line, row in read_table(table, ("lesion_id", "image_id", "dx")):
        place = f"{table}, line {line}"
        image_id = row["image_id"]
        if not image_id or image_id in seen:
            raise DataError(f"{place}: {'duplicate image id ' + repr(image_id) if image_id else 'empty image id'}")
        seen.add(image_id)
        record = LesionRecord(
            image_id=image_id,
            path=images.get(image_id, folder / f"{image_id}.jpg"),
            lesion_id=row["lesion_id"] or image_id,
            label=parse_label(row["dx"], place),
            age=parse_age(row.get("age", ""), place),
            sex=parse_word(row.get("sex", "")),
            site=parse_word(row.get("localization", "")),
            dx_type=parse_word(row.get("dx_type", "")),
        )
        if image_id in images:
            records.append(record)
        else:
            missing.append(image_id)
    return records, missing


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "HAM10000",
        "HAM10000 (HAM10000_metadata.csv and folders of pictures)",
        lambda folder: _ham_table(folder) is not None,
        _read_ham10000,
    ),
)
