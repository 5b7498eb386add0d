"""A data folder as found on disk: which layout it has, and the record of every usable image in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.classes import ClassSet, ham10000
from edge_runtime.errors import DataError
from train.data.layouts.class_folders import CLASS_FOLDERS
from train.data.layouts.contents import FolderContents, read_contents
from train.data.layouts.ham10000 import HAM10000
from train.data.layouts.isic_archive import ISIC_ARCHIVE
from train.data.layouts.isic_challenge import ISIC_CHALLENGE
from train.data.layouts.reading import Layout, Reading
from train.data.records import LesionRecord
from train.data.tables import column_names

LAYOUTS: tuple[Layout, ...] = (HAM10000, ISIC_CHALLENGE, ISIC_ARCHIVE, CLASS_FOLDERS)
_NAMED = 3


@dataclass(frozen=True)
class DataFolder:
    """A data set as found: its layout's name, the images that exist, and the ids whose image is missing.

    ``licences`` are those that its table gives for single images. ``passed_over`` has one line for each reason why
    something was left out, ``unreadable`` the reason for each file that cannot be read.
    """

    folder: Path
    layout: str
    classes: ClassSet
    records: tuple[LesionRecord, ...]
    missing: tuple[str, ...]
    licences: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


def load_records(folder: Path, classes: ClassSet | None = None) -> list[LesionRecord]:
    """Return the records of all images that exist under ``folder``. Raises :class:`DataError`."""
    return list(read_data_folder(folder, classes).records)


def read_data_folder(folder: Path, classes: ClassSet | None = None) -> DataFolder:
    """Recognise the layout of ``folder`` and read it with the given classes, by default those of HAM10000.

    Raises :class:`DataError` naming the file and the value.
    """
    classes = classes or ham10000()
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a data folder, found {'a file' if folder.exists() else 'nothing'}")
    contents = read_contents(folder)
    layout = next((one for one in LAYOUTS if one.recognises(contents, classes)), None)
    if layout is None:
        expected = "; ".join(one.description for one in LAYOUTS)
        raise DataError(f"{folder}: expected one of the layouts: {expected}; found {_found(contents)}")
    reading = layout.read(contents, classes)
    if not reading.records:
        raise DataError(f"{folder}: expected images, found none{_why_none(reading)}")
    ordered = sorted(reading.records, key=lambda record: record.image_id)
    for record, following in itertools.pairwise(ordered):
        if record.image_id == following.image_id:
            raise DataError(f"{folder}: duplicate image id {record.image_id!r}")
    return DataFolder(
        folder,
        layout.name,
        classes,
        tuple(ordered),
        tuple(sorted(reading.missing)),
        tuple(sorted(reading.licences)),
        (*contents.passed_over.summary(), *reading.passed_over.summary()),
        tuple(contents.unreadable.items()),
    )


def _found(contents: FolderContents) -> str:
    """What lies in a folder of no known layout, for the message that says so."""
    if contents.workbooks:
        return f"the workbook {contents.workbooks[0]}; save it as CSV in the spreadsheet program"
    for table in contents.tables:
        if len(column_names(table)) > 1:
            return f"the table {table} with columns {', '.join(column_names(table))}"
    return "none of them"


def _why_none(reading: Reading) -> str:
    reasons = []
    if reading.missing:
        named = ", ".join(sorted(reading.missing)[:_NAMED])
        reasons.append(f"{len(reading.missing)} are named but missing, such as {named}")
    reasons += reading.passed_over.summary()
    return f" ({'; '.join(reasons)})" if reasons else ""
