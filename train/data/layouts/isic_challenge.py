"""ISIC 2018 task 3 and ISIC 2019: ``*GroundTruth.csv`` with one column per class, and folders of images.

The official training, validation and test sets are kept. Lesions come from ``*LesionGroupings.csv`` (2018) or
``*Metadata.csv`` (2019, with age, sex and site). Images of diagnoses that are none of the classes, such as "unknown" of
2019 and, with HAM10000's classes, its squamous cell carcinoma, are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.classes import ClassSet, ham10000
from edge_runtime.errors import DataError
from train.data.layouts.contents import FolderContents
from train.data.layouts.reading import Layout, Reading, lesion_or_image, new_id
from train.data.records import LesionRecord
from train.data.tables import Row, column_names, parse_age, parse_number, parse_word, read_table

_SUBSETS = {"training": "train", "validation": "validation", "test": "test"}
_AKIEC_2019 = "ak"
_OTHER = {"scc": "squamous cell carcinoma", "unk": "unknown diagnosis"}


@dataclass(frozen=True)
class _Details:
    """What another table than the ground truth says of an image."""

    lesion_id: str
    age: float | None
    sex: str | None
    site: str | None
    dx_type: str | None


def _truth_tables(contents: FolderContents) -> list[Path]:
    return [path for path in contents.tables if path.stem.lower().endswith("groundtruth")]


def _read(contents: FolderContents, classes: ClassSet) -> Reading:
    details = _read_details(contents)
    tables = _truth_tables(contents)
    reading = Reading()
    seen: set[str] = set()
    for table in tables:
        named = next((subset for word, subset in _SUBSETS.items() if word in table.name.lower()), None)
        subset = named if len(tables) > 1 else None  # training alone is an ordinary data set, to be split by us
        columns = _class_columns(table)
        for line, row in read_table(table, ("image", *columns)):
            place = f"{table}, line {line}"
            image_id = new_id(row["image"], contents, seen, place)
            chosen = columns[_one_hot(row, columns, place)]
            path = contents.image_of(image_id)
            label = classes.index_of(chosen)
            if label is None:
                reading.passed_over.add(_OTHER.get(chosen, f"none of the classes: {chosen}"), image_id)
            elif path is None:
                reading.missing.append(image_id)
            else:
                reading.records.append(_record(image_id, path, label, subset, details.get(image_id)))
    return reading


def _record(image_id: str, path: Path, label: int, subset: str | None, known: _Details | None) -> LesionRecord:
    if known is None:
        return LesionRecord(image_id, path, image_id, label, subset=subset)
    return LesionRecord(
        image_id, path, known.lesion_id, label, known.age, known.sex, known.site, known.dx_type, subset=subset
    )


def _read_details(contents: FolderContents) -> dict[str, _Details]:
    details: dict[str, _Details] = {}
    for table in contents.tables:
        if not table.stem.lower().endswith(("lesiongroupings", "metadata")) or "image" not in column_names(table):
            continue
        for line, row in read_table(table, ("image",)):
            image_id = new_id(row["image"], contents, set(), f"{table}, line {line}")
            details[image_id] = _Details(
                lesion_or_image(row.get("lesion_id", ""), image_id),
                parse_age(row.get("age_approx", ""), f"{table}, line {line}"),
                parse_word(row.get("sex", "")),
                parse_word(row.get("anatom_site_general", "")),
                parse_word(row.get("diagnosis_confirm_type", "")),
            )
    return details


def _class_columns(table: Path) -> tuple[str, ...]:
    """The class columns of 2018 or, where ``AK`` is one of them, of 2019."""
    names = column_names(table)
    if _AKIEC_2019 not in names:
        return ham10000().codes
    columns = tuple(_AKIEC_2019 if code == "akiec" else code for code in ham10000().codes)
    return (*columns, *(name for name in _OTHER if name in names))


def _one_hot(row: Row, columns: tuple[str, ...], place: str) -> int:
    try:
        values = [parse_number(row[name]) for name in columns]
    except ValueError:
        values = []
    if sorted(values) != [0.0] * (len(columns) - 1) + [1.0]:
        found = ",".join(row[name] for name in columns)
        raise DataError(f"{place}: expected a single 1.0 among its {len(columns)} classes, found {found}")
    return values.index(1.0)


ISIC_CHALLENGE = Layout(
    "ISIC challenge",
    "ISIC 2018 or 2019 (*GroundTruth.csv and folders of images)",
    lambda contents, _: bool(_truth_tables(contents)),
    _read,
)
