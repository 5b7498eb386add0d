"""The layouts a data set may have on disk, each recognised by itself.

* HAM10000 as on Kaggle and Dataverse: ``HAM10000_metadata.csv`` (on Dataverse without suffix) and folders of images,
  in two parts or merged.
* ISIC 2018 task 3: ``*GroundTruth.csv`` with one-hot columns, lesion groupings, and folders of images; the official
  training, validation and test subsets are kept.
* A folder per class, named by code or full name, at the top or below ``train``, ``validation`` and ``test``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.classes import CLASS_CODES, CLASSES
from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import IMAGE_SUFFIXES
from train.data.records import LesionRecord
from train.data.tables import parse_age, parse_label, parse_word, read_table


@dataclass(frozen=True)
class Layout:
    """How to recognise and read one way of arranging a data set; ``read`` returns records and missing image ids."""

    name: str
    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], tuple[list[LesionRecord], list[str]]]


def find_images(folder: Path) -> dict[str, Path]:
    """Map image id (file name without suffix) to path for all images below ``folder``; the first found wins."""
    images: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for file in sorted(files):
            path = Path(parent) / file
            if path.suffix.lower() in IMAGE_SUFFIXES and not file.startswith("."):
                images.setdefault(path.stem, path)
    return images


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
        image_id = _new_id(row["image_id"], seen, place)
        label = parse_label(row["dx"], place)
        age = parse_age(row.get("age", ""), place)
        if image_id not in images:
            missing.append(image_id)
            continue
        records.append(
            LesionRecord(
                image_id=image_id,
                path=images[image_id],
                lesion_id=row["lesion_id"] or image_id,
                label=label,
                age=age,
                sex=parse_word(row.get("sex", "")),
                site=parse_word(row.get("localization", "")),
                dx_type=parse_word(row.get("dx_type", "")),
            )
        )
    return records, missing


_ISIC_SUBSETS = {"training": "train", "validation": "validation", "test": "test"}


def _isic_tables(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*GroundTruth.csv"))


def _read_isic2018(folder: Path) -> tuple[list[LesionRecord], list[str]]:
    images = find_images(folder)
    lesions = _isic_lesions(folder)
    tables = _isic_tables(folder)
    records: list[LesionRecord] = []
    missing: list[str] = []
    seen: set[str] = set()
    for table in tables:
        subset = next((subset for word, subset in _ISIC_SUBSETS.items() if word in table.name.lower()), None)
        for line, row in read_table(table, ("image", *(code.upper() for code in CLASS_CODES))):
            place = f"{table}, line {line}"
            image_id = _new_id(row["image"], seen, place)
            label = _one_hot_label(row, place)
            lesion_id, confirmation = lesions.get(image_id, (image_id, None))
            if image_id not in images:
                missing.append(image_id)
                continue
            chosen = subset if len(tables) > 1 else None  # training alone is an ordinary data set, to be split by us
            records.append(
                LesionRecord(image_id, images[image_id], lesion_id, label, dx_type=confirmation, subset=chosen)
            )
    return records, missing


def _isic_lesions(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Image id → lesion id and how the diagnosis was confirmed, from the lesion groupings if they are there."""
    lesions: dict[str, tuple[str, str | None]] = {}
    for table in sorted(folder.rglob("*LesionGroupings.csv")):
        for _, row in read_table(table, ("image", "lesion_id")):
            lesions[row["image"]] = (
                row["lesion_id"] or row["image"],
                parse_word(row.get("diagnosis_confirm_type", "")),
            )
    return lesions


def _one_hot_label(row: dict[str, str], place: str) -> int:
    try:
        values = [float(row[code.upper()]) for code in CLASS_CODES]
    except ValueError:
        values = []
    if sorted(values) != [0.0] * (len(CLASS_CODES) - 1) + [1.0]:
        found = ",".join(row[code.upper()] for code in CLASS_CODES)
        raise DataError(f"{place}: expected a single 1.0 among the seven classes, found {found}")
    return values.index(1.0)


def _new_id(image_id: str, seen: set[str], place: str) -> str:
    if not image_id:
        raise DataError(f"{place}: empty image id")
    if image_id in seen:
        raise DataError(f"{place}: duplicate image id {image_id!r}")
    seen.add(image_id)
    return image_id


_PART_FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"} | {
    "validation": "validation",
    "test": "test",
}
_CLASS_FOLDERS = {name.lower(): index for index, one in enumerate(CLASSES) for name in (one.code, one.name)}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _class_parents(folder: Path) -> list[tuple[Path, str | None]]:
    """Folders that hold one folder per class, with the subset of the split they stand for."""
    below = [(one, _PART_FOLDERS[one.name.lower()]) for one in _subfolders(folder) if one.name.lower() in _PART_FOLDERS]
    candidates: list[tuple[Path, str | None]] = [*below] if below else [(folder, None)]
    return [
        (parent, subset)
        for parent, subset in candidates
        if any(one.name.lower() in _CLASS_FOLDERS for one in _subfolders(parent))
    ]


def _read_class_folders(folder: Path) -> tuple[list[LesionRecord], list[str]]:
    found: list[tuple[Path, int, str | None]] = []
    for parent, subset in _class_parents(folder):
        for class_folder in _subfolders(parent):
            paths = list(find_images(class_folder).values())
            if paths and class_folder.name.lower() not in _CLASS_FOLDERS:
                raise DataError(
                    f"{class_folder}: unknown class {class_folder.name!r}, expected one of {' '.join(CLASS_CODES)}"
                )
            found.extend((path, _CLASS_FOLDERS[class_folder.name.lower()], subset) for path in paths)
    stems = [path.stem for path, _, _ in found]
    repeated = {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else set()
    records = []
    for path, label, subset in found:
        plain = path.relative_to(folder).with_suffix("").as_posix().replace("/", "__")
        image_id = plain if path.stem in repeated else path.stem
        records.append(LesionRecord(image_id, path, image_id, label, subset=subset))
    return records, []


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "HAM10000",
        "HAM10000 (HAM10000_metadata.csv and folders of images)",
        lambda folder: _ham_table(folder) is not None,
        _read_ham10000,
    ),
    Layout(
        "ISIC 2018",
        "ISIC 2018 (*GroundTruth.csv and folders of images)",
        lambda folder: bool(_isic_tables(folder)),
        _read_isic2018,
    ),
    Layout(
        "folder per class",
        f"folders of images named {', '.join(CLASS_CODES)}",
        lambda folder: bool(_class_parents(folder)),
        _read_class_folders,
    ),
)
