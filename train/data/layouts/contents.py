"""What lies in a data folder: its images by id, and its tables, found in one walk."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from edge_runtime.errors import DataError
from edge_runtime.imaging.formats import IMAGE_SUFFIXES
from edge_runtime.io.walk import PassedOver, reason_against_content, walk_files
from train.data.tables import TABLE_SUFFIXES, WORKBOOK_SUFFIXES


@dataclass
class FolderContents:
    """The files of a data folder, sorted; ``images`` maps an image's id to all files of that name.

    ``unreadable`` maps the path of each file that cannot be read to the reason; ``passed_over`` is what was left out.
    """

    folder: Path
    images: dict[str, list[Path]] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    workbooks: list[Path] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    passed_over: PassedOver = field(default_factory=PassedOver)

    def image_of(self, image_id: str) -> Path | None:
        """Return the image of that id, ``None`` if there is none.

        The same image may lie there several times. Raises :class:`DataError` for different images of one id.
        """
        paths = self.images.get(image_id, [])
        for other in paths[1:]:
            if not filecmp.cmp(paths[0], other, shallow=False):
                raise DataError(
                    f"{self.folder}: image id {image_id!r} has two different images, {paths[0]} and {other}; "
                    "remove the one that is not meant"
                )
        return paths[0] if paths else None


def id_of(path: PurePath) -> str:
    """Return the id of an image: its file's name without the suffix of an image format."""
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def read_contents(folder: Path) -> FolderContents:
    """Walk ``folder``. Raises :class:`DataError` for a subfolder that cannot be read: a class could be missing."""
    contents = FolderContents(folder)
    for name, problem in walk_files(str(folder), contents.passed_over):
        path = Path(name)
        if problem is not None:
            if not (path.is_symlink() or path.is_file()):
                raise DataError(f"{problem}; without it the data set would be incomplete")
            contents.unreadable[name] = str(problem)
        else:
            _sort_in(contents, path)
    return contents


def _sort_in(contents: FolderContents, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES or (not suffix and path.name.lower().endswith("metadata")):
        contents.tables.append(path)
    elif suffix in WORKBOOK_SUFFIXES:
        contents.workbooks.append(path)
    else:
        try:
            reason = reason_against_content(str(path))
        except OSError as error:
            contents.unreadable[str(path)] = f"{path}: cannot be read: {error.strerror or error}"
            return
        if reason is None:
            contents.images.setdefault(id_of(path), []).append(path)
        else:
            contents.passed_over.add(reason, str(path))
