"""What reading a layout gives, and what its readers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PureWindowsPath

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import DataError
from edge_runtime.io.walk import PassedOver
from train.data.layouts.contents import FolderContents, id_of
from train.data.records import LesionRecord
from train.data.tables import is_unknown


@dataclass
class Reading:
    """The records of the images that exist, the ids whose image is missing, and what was left out, by reason.

    ``licences`` are those that a table gives for single images.
    """

    records: list[LesionRecord] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    passed_over: PassedOver = field(default_factory=PassedOver)
    licences: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Layout:
    """How to recognise and read a data set of given classes arranged in one way. ``read`` raises :class:`DataError`."""

    name: str
    description: str
    recognises: Callable[[FolderContents, ClassSet], bool]
    read: Callable[[FolderContents, ClassSet], Reading]


def new_id(cell: str, contents: FolderContents, seen: set[str], place: str) -> str:
    """Return the image id that a cell means: as it is, or without an image's suffix and folder.

    Raises :class:`DataError` for an empty id and for one that was ``seen``.
    """
    if not cell:
        raise DataError(f"{place}: empty image id")
    image_id = cell if cell in contents.images else id_of(PureWindowsPath(cell))  # either slash
    if image_id in seen:
        raise DataError(f"{place}: duplicate image id {image_id!r}")
    seen.add(image_id)
    return image_id


def lesion_or_image(lesion_id: str, image_id: str) -> str:
    """Return the lesion's id, the image's where the lesion is not known: "N/A" is not one lesion of many images."""
    return image_id if is_unknown(lesion_id) else lesion_id
