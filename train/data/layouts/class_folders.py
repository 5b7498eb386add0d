"""A folder per class, named by code or full name, at the top or below ``train``, ``validation`` and ``test``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.classes import CLASS_CODES, CLASSES
from edge_runtime.errors import DataError
from train.data.layouts.contents import FolderContents, id_of
from train.data.layouts.reading import Layout, Reading
from train.data.records import LesionRecord

_SUBSET_OF_FOLDER = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_CLASS_OF_FOLDER = {name.lower(): index for index, one in enumerate(CLASSES) for name in (one.code, one.name)}


@dataclass(frozen=True)
class _Placed:
    """An image, the folder that should name its class, and the subset whose folder that lies in."""

    path: Path
    class_folder: str
    subset: str | None


def _place(contents: FolderContents) -> list[_Placed]:
    """Return the images in class folders or beside them; none where no folder is named like a class."""
    paths = [path for paths in contents.images.values() for path in paths]
    folders = {path: path.relative_to(contents.folder).parts[:-1] for path in paths}
    only = {parts[0] if parts else "" for parts in folders.values()}
    if len(only) == 1 and not {name.lower() for name in only} & (_CLASS_OF_FOLDER.keys() | _SUBSET_OF_FOLDER.keys()):
        folders = {path: parts[1:] for path, parts in folders.items()}  # the whole data set lies one folder down
    in_subsets = [
        _Placed(path, parts[1], _SUBSET_OF_FOLDER[parts[0].lower()])
        for path, parts in folders.items()
        if len(parts) > 1 and parts[0].lower() in _SUBSET_OF_FOLDER
    ]
    at_the_top = [_Placed(path, parts[0], None) for path, parts in folders.items() if parts]
    placed = in_subsets or at_the_top
    return placed if any(one.class_folder.lower() in _CLASS_OF_FOLDER for one in placed) else []


def _read(contents: FolderContents) -> Reading:
    reading = Reading()
    placed = sorted(_place(contents), key=lambda one: one.path)
    for one in placed:
        if one.class_folder.lower() not in _CLASS_OF_FOLDER:
            raise DataError(
                f"{one.path.parent}: unknown class {one.class_folder!r}, expected one of {' '.join(CLASS_CODES)}"
            )
    taken = {one.path for one in placed}
    for path in (path for paths in contents.images.values() for path in paths if path not in taken):
        reading.passed_over.add("not in a folder named like a class", str(path))
    image_ids = _image_ids(contents.folder, [one.path for one in placed])
    for one, image_id in zip(placed, image_ids, strict=True):
        label = _CLASS_OF_FOLDER[one.class_folder.lower()]
        reading.records.append(LesionRecord(image_id, one.path, image_id, label, subset=one.subset))
    return reading


def _image_ids(folder: Path, paths: list[Path]) -> list[str]:
    """Return the shortest of file name, path, and path with suffix that no other image has."""
    choices = [
        [id_of(path) for path in paths],
        [_joined(path.relative_to(folder).parent / id_of(path)) for path in paths],
        [_joined(path.relative_to(folder)) for path in paths],
    ]
    counts = [Counter(names) for names in choices]
    unique = [
        [name for name, count in zip(one, counts, strict=True) if count[name] == 1]
        for one in zip(*choices, strict=True)
    ]
    return [names[0] for names in unique]


def _joined(path: Path) -> str:
    return path.as_posix().replace("/", "__")


CLASS_FOLDERS = Layout(
    "folder per class",
    f"folders of images named {', '.join(CLASS_CODES)}",
    lambda contents: bool(_place(contents)),
    _read,
)
