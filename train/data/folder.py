"""A data folder as found on disk: which layout it has, and the record of every usable image in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DataError
from train.data.layouts import LAYOUTS
from train.data.records import LesionRecord


@dataclass(frozen=True)
class DataFolder:
    """A data set as found: its layout's name, the images that exist, and the ids whose image is missing.

    ``licences`` are those that its table gives for single images.
    """

    folder: Path
    layout: str
    records: tuple[LesionRecord, ...]
    missing: tuple[str, ...]
    licences: tuple[str, ...] = ()


def load_records(folder: Path) -> list[LesionRecord]:
    """Return the records of all images that exist under ``folder``. Raises :class:`DataError`."""
    return list(read_data_folder(folder).records)


def read_data_folder(folder: Path) -> DataFolder:
    """Recognise the layout of ``folder`` and read it. Raises :class:`DataError` naming the file and the value."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a data folder, found {'a file' if folder.exists() else 'nothing'}")
    for layout in LAYOUTS:
        if layout.recognises(folder):
            records, missing = layout.read(folder)
            break
    else:
        expected = "; ".join(layout.description for layout in LAYOUTS)
        raise DataError(f"{folder}: expected one of the layouts: {expected}; found none of them")
    if not records:
        raise DataError(f"{folder}: expected images, found none ({len(missing)} are named but missing)")
    ordered = sorted(records, key=lambda record: record.image_id)
    for record, following in itertools.pairwise(ordered):
        if record.image_id == following.image_id:
            raise DataError(f"{folder}: duplicate image id {record.image_id!r}")
    return DataFolder(folder, layout.name, tuple(ordered), tuple(sorted(missing)))
