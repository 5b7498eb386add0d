"""A folder per class, named by code, name or synonym, at the top or below ``train``, ``validation`` and ``test``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.bundle.classes import ClassSet
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


@dataclass(frozen=True)
class _Placed:
    """An image, the folder that should name its class, and the subset whose folder that lies in."""

    path: Path
    class_folder: str
    subset: str | None


def class_folder_names(contents: FolderContents) -> list[str]:
    """Return the names of the folders that hold the images of a class each, where any name may be one, sorted."""
    names = {one.class_folder for one in _place_all(contents, None)}
    return sorted(names, key=lambda name: (name.casefold(), name))


def _place(contents: FolderContents, classes: ClassSet) -> list[_Placed]:
    """Return the images in class folders or beside them; none where no folder is named like a class."""
    placed = _place_all(contents, classes)
    return placed if any(classes.index_of(one.class_folder) is not None for one in placed) else []


def _place_all(contents: FolderContents, classes: ClassSet | None) -> list[_Placed]:
    """Return the images in folders; ``classes`` tell a class from a folder around the whole data set."""
    paths = [path for paths in contents.images.values() for path in paths]
    folders = {path: path.relative_to(contents.folder).parts[:-1] for path in paths}
    only = {parts[0] if parts else "" for parts in folders.values()}
    is_class = classes is not None and any(classes.index_of(name) is not None for name in only)
    if len(only) == 1 and not is_class and not {name.lower() for name in only} & _SUBSET_OF_FOLDER.keys():
        folders = {path: parts[1:] for path, parts in folders.items()}  # the whole data set lies one folder down
    in_subsets = [
        _Placed(path, parts[1], _SUBSET_OF_FOLDER[parts[0].lower()])
        for path, parts in folders.items()
        if len(parts) > 1 and parts[0].lower() in _SUBSET_OF_FOLDER
    ]
    at_the_top = [_Placed(path, parts[0], None) for path, parts in folders.items() if parts]
    return in_subsets or at_the_top


def _read(contents: FolderContents, classes: ClassSet) -> Reading:
    reading = Reading()
    placed = sorted(_place(contents, classes), key=lambda one: one.path)
    for one in placed:
        if classes.index_of(one.class_folder) is None:
            raise DataError(
                f"{one.path.parent}: unknown class {one.class_folder!r}, expected one of {' '.join(classes.codes)}; "
                "--classes takes others"
            )
    taken = {one.path for one in placed}
    for path in (path for paths in contents.images.values() for path in paths if path not in taken):
        reading.passed_over.add("not in a folder named like a class", str(path))
    image_ids = _image_ids(contents.folder, [one.path for one in placed])
    for one, image_id in zip(placed, image_ids, strict=True):
        label = classes.index_of(one.class_folder)
        assert label is not None
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
    "a folder of images for each class, named like one of --classes",
    lambda contents, classes: bool(_place(contents, classes)),
    _read,
)
