"""What is known about each picture of a data set, whichever layout it came in.

``load_records(folder)`` recognises the layout (see :mod:`train.layouts`) and returns one :class:`LesionRecord` per
usable picture, in the order of the image ids. Class codes, ages, sexes and sites are brought to one spelling here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DataError

DEMO_MARKER = "DEMO.txt"


@dataclass(frozen=True)
class LesionRecord:
    """One picture of a lesion.

    ``label`` indexes :data:`edge_runtime.classes.CLASS_CODES`; ``age`` is in years. ``None`` means unknown.
    ``part`` is "train", "validation" or "test" where the data set itself prescribes it.
    """

    image_id: str
    path: Path
    lesion_id: str
    label: int
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    dx_type: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class DataFolder:
    """A data set as found: its layout's name, the pictures that exist, and the ids whose picture is missing."""

    folder: Path
    layout: str
    records: tuple[LesionRecord, ...]
    missing: tuple[str, ...]


def load_records(folder: Path) -> list[LesionRecord]:
    """Return the records of all pictures that exist under ``folder``. Raises :class:`DataError`."""
    return list(read_data_folder(folder).records)


def read_data_folder(folder: Path) -> DataFolder:
    """Recognise the layout of ``folder`` and read it. Raises :class:`DataError` naming the file and the value."""
    from train.layouts import LAYOUTS  # the layouts build records, so they import this module

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
        raise DataError(f"{folder}: expected pictures, found none ({len(missing)} are named but missing)")
    ordered = sorted(records, key=lambda record: record.image_id)
    for record, following in itertools.pairwise(ordered):
        if record.image_id == following.image_id:
            raise DataError(f"{folder}: duplicate image id {record.image_id!r}")
    return DataFolder(folder, layout.name, tuple(ordered), tuple(sorted(missing)))


def is_demo(folder: Path) -> bool:
    """Whether the pictures are generated phantoms, not lesions: the folder holds the marker ``DEMO.txt``."""
    return (folder / DEMO_MARKER).is_file()
