"""What the ISIC Archive hands out: ``metadata.csv`` with ``isic_id``, and the images beside it.

Diagnoses are five columns from general to special (``diagnosis_1`` … ``diagnosis_5``), in older files one column
``diagnosis``. The synonyms of the classes say which of them a diagnosis belongs to; images of other diagnoses, and
images that are not dermoscopic, are passed over.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import DataError
from train.data.layouts.contents import FolderContents
from train.data.layouts.reading import Layout, Reading, lesion_or_image, new_id
from train.data.records import LesionRecord
from train.data.tables import Row, column_names, is_unknown, parse_age, parse_word, read_table

_LEVELS = tuple(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1))
"""From the most special column to the most general one: the first one with a class decides."""

_OF_NO_CLASS = ("melanoma metastasis",)
"""Diagnoses that are not their more general one's class."""

_DERMOSCOPIC = "dermoscopic"


def class_of_diagnosis(row: Row, classes: ClassSet) -> tuple[int | None, str]:
    """Return the index of the class that a row's diagnosis belongs to, ``None`` for no class, and the diagnosis."""
    given = [row.get(name, "") for name in (*_LEVELS, "diagnosis")]
    known = [words for words in given if not is_unknown(words)]
    if not known:
        return None, "no diagnosis"
    for words in known:
        index = classes.index_of(words)
        if index is not None or words.casefold() in _OF_NO_CLASS:
            return index, words
    return None, known[0]


def _tables(contents: FolderContents) -> list[Path]:
    return [path for path in contents.tables if "isic_id" in column_names(path)]


def _read(contents: FolderContents, classes: ClassSet) -> Reading:
    reading = Reading()
    labels: dict[str, int | None] = {}
    for table in _tables(contents):
        for line, row in read_table(table, ("isic_id",)):
            place = f"{table}, line {line}"
            image_id = new_id(row["isic_id"], contents, set(), place)
            label, diagnosis = class_of_diagnosis(row, classes)
            if image_id in labels:  # two collections may share images, but not disagree about them
                if labels[image_id] != label:
                    raise DataError(f"{place}: image {image_id!r} has another diagnosis than before, {diagnosis!r}")
                continue
            labels[image_id] = label
            _read_row(row, image_id, (label, diagnosis), contents, reading, place)
    return reading


def _read_row(
    row: Row, image_id: str, decided: tuple[int | None, str], contents: FolderContents, reading: Reading, place: str
) -> None:
    label, diagnosis = decided
    image_type = row.get("image_type", "")
    if not is_unknown(image_type) and image_type.casefold() != _DERMOSCOPIC:
        reading.passed_over.add(f"not dermoscopic but {image_type}", image_id)
        return
    if label is None:
        reading.passed_over.add(f"none of the classes: {diagnosis}", image_id)
        return
    path = contents.image_of(image_id)
    if path is None:
        reading.missing.append(image_id)
        return
    if not is_unknown(row.get("copyright_license", "")):
        reading.licences.add(row["copyright_license"])
    reading.records.append(
        LesionRecord(
            image_id=image_id,
            path=path,
            lesion_id=lesion_or_image(row.get("lesion_id", ""), image_id),
            label=label,
            age=parse_age(row.get("age_approx", ""), place),
            sex=parse_word(row.get("sex", "")),
            site=parse_word(row.get("anatom_site_general", "")),
            dx_type=parse_word(row.get("diagnosis_confirm_type", "")),
        )
    )


ISIC_ARCHIVE = Layout(
    "ISIC Archive",
    "ISIC Archive (metadata.csv with isic_id, and images)",
    lambda contents, _: bool(_tables(contents)),
    _read,
)
