"""HAM10000 as on Kaggle and Harvard Dataverse: one metadata table, and images in any folders."""

from __future__ import annotations

import filecmp
from pathlib import Path

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import DataError
from train.data.layouts.contents import FolderContents
from train.data.layouts.reading import Layout, Reading, lesion_or_image, new_id
from train.data.records import LesionRecord
from train.data.tables import parse_age, parse_label, parse_word, read_table

_NAMES = ("ham10000_metadata.csv", "ham10000_metadata", "ham10000_metadata.tab", "ham10000_metadata.tsv")
"""In lower case, the first found wins in one folder."""


def find_table(contents: FolderContents) -> Path | None:
    """Return the metadata table that lies highest. Raises :class:`DataError` where two folders have different ones."""
    named = [path for path in contents.tables if path.name.lower() in _NAMES]
    if not named:
        return None
    depth = min(len(path.parts) for path in named)
    highest = [path for path in named if len(path.parts) == depth]
    first = min(highest, key=lambda path: (str(path.parent), _NAMES.index(path.name.lower())))
    for other in highest:
        if other.parent != first.parent and not filecmp.cmp(first, other, shallow=False):
            raise DataError(f"{contents.folder}: expected one data set, found {first} and {other}; name one's folder")
    return first


def _read(contents: FolderContents, classes: ClassSet) -> Reading:
    table = find_table(contents)
    assert table is not None
    reading = Reading()
    seen: set[str] = set()
    for line, row in read_table(table, ("lesion_id", "image_id", "dx")):
        place = f"{table}, line {line}"
        image_id = new_id(row["image_id"], contents, seen, place)
        label = parse_label(row["dx"], classes, place)
        age = parse_age(row.get("age", ""), place)
        if label is None:
            reading.passed_over.add(f"none of the classes: {row['dx']}", image_id)
            continue
        path = contents.image_of(image_id)
        if path is None:
            reading.missing.append(image_id)
            continue
        reading.records.append(
            LesionRecord(
                image_id=image_id,
                path=path,
                lesion_id=lesion_or_image(row["lesion_id"], image_id),
                label=label,
                age=age,
                sex=parse_word(row.get("sex", "")),
                site=parse_word(row.get("localization", "")),
                dx_type=parse_word(row.get("dx_type", "")),
            )
        )
    return reading


HAM10000 = Layout(
    "HAM10000",
    "HAM10000 (HAM10000_metadata.csv or .tab, and folders of images)",
    lambda contents, _: find_table(contents) is not None,
    _read,
)
