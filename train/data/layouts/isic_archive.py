"""What the ISIC Archive hands out: ``metadata.csv`` with ``isic_id``, and the images beside it.

Diagnoses are five columns from general to special (``diagnosis_1`` … ``diagnosis_5``), in older files one column
``diagnosis``. They are mapped to the seven classes as HAM10000 groups them (Tschandl et al., Scientific Data 5:180161,
2018); images of other diagnoses, and images that are not dermoscopic, are passed over.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.errors import DataError
from train.data.layouts.contents import FolderContents
from train.data.layouts.reading import Layout, Reading, lesion_or_image, new_id
from train.data.records import LesionRecord
from train.data.tables import Row, column_names, is_unknown, parse_age, parse_word, read_table

_LEVELS = tuple(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1))
"""From the most special column to the most general one: the first one with a class decides."""

_CLASS_OF_DIAGNOSIS: dict[str, str | None] = {
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",  # Bowen's disease
    "basal cell carcinoma": "bcc",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "dermatofibroma": "df",
    "malignant melanocytic proliferations (melanoma)": "mel",
    "melanoma metastasis": None,
    "nevus": "nv",
    "benign soft tissue proliferations - vascular": "vasc",
    "hemorrhagic lesions": "vasc",
    # words of the older column "diagnosis"
    "actinic keratosis": "akiec",
    "lichenoid keratosis": "bkl",
    "melanoma": "mel",
    "nevus spilus": "nv",
    "angioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    "vascular lesion": "vasc",
}
"""Diagnosis in lower case → class; ``None`` for a diagnosis that is not its more general one's class."""

_DERMOSCOPIC = "dermoscopic"


def class_of_diagnosis(row: Row) -> tuple[int | None, str]:
    """Return the index of the class that a row's diagnosis belongs to, ``None`` for no class, and the diagnosis."""
    given = [row.get(name, "") for name in (*_LEVELS, "diagnosis")]
    known = [words for words in given if not is_unknown(words)]
    if not known:
        return None, "no diagnosis"
    for words in known:
        if words.casefold() in _CLASS_OF_DIAGNOSIS:
            code = _CLASS_OF_DIAGNOSIS[words.casefold()]
            return (None if code is None else CLASS_CODES.index(code)), words
    return None, known[0]


def _tables(contents: FolderContents) -> list[Path]:
    return [path for path in contents.tables if "isic_id" in column_names(path)]


def _read(contents: FolderContents) -> Reading:
    reading = Reading()
    labels: dict[str, int | None] = {}
    for table in _tables(contents):
        for line, row in read_table(table, ("isic_id",)):
            place = f"{table}, line {line}"
            image_id = new_id(row["isic_id"], contents, set(), place)
            label, diagnosis = class_of_diagnosis(row)
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
        reading.passed_over.add(f"none of the seven classes: {diagnosis}", image_id)
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
    lambda contents: bool(_tables(contents)),
    _read,
)
