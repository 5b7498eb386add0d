"""Walking a folder, for the device and for training: every image once, and everything else counted and named.

Folders and files that other programs keep for themselves (trash, thumbnails, checkpoints, versions) are passed over, as
are pipes, sockets and devices. Links are followed, but nothing is visited twice. What cannot be read is an error that
names it: a folder that is left out silently can take a whole class out of a training set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import BMP, HEAD_BYTES, IMAGE_SUFFIXES, identify_format

HIDDEN_FOLDER = "hidden folder"
HIDDEN_FILE = "hidden file"
FOREIGN_FOLDER = "trash, thumbnails or versions of another program"
TEMPORARY_FILE = "temporary or backup file"
VISITED = "link to something that is visited anyway"
NOT_REGULAR = "pipe, socket or device"
NOT_AN_IMAGE = "not an image"

_FOREIGN_NAMES = {
    "$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder", "trash", "@eadir", "@tmp",
    "#snapshot", "~snapshot", "__macosx", "temporary items", "lost+found", "found.000", "system volume information",
    "__pycache__", "node_modules", "cvs", "_darcs", "_svn", "_vti_cnf", "lightroom previews.lrdata",
}  # fmt: skip
"""Folders of NAS systems, operating systems, synchronisation and version control, as lower case."""

_FOREIGN_BEGINNINGS = ("@gmt-", "found.0", ".trash")
_FOREIGN_ENDINGS = (".lrdata", ".lrcat-data", ".photoslibrary", ".aplibrary", ".migratedphotolibrary")
_TEMPORARY_ENDINGS = (
    "~", ".part", ".partial", ".crdownload", ".download", ".opdownload", ".filepart", ".tmp", ".temp", ".bak", ".old",
    ".orig", ".swp", ".aria2",
)  # fmt: skip
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_NAMED_EACH = 10


@dataclass
class PassedOver:
    """What was left out, by reason: how many there are, and the paths of the first of them."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count one more."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _NAMED_EACH:
            shown.append(path)

    def forget(self, reason: str) -> None:
        """Drop what was left out for this reason."""
        self.counts.pop(reason, None)
        self.examples.pop(reason, None)

    @property
    def total(self) -> int:
        """How many were passed over; a folder counts as one."""
        return sum(self.counts.values())

    def summary(self) -> list[str]:
        """Return one line for each reason, with the count and the first paths."""
        return [
            f"passed over {count} ({reason}): {', '.join(self.examples[reason])}"
            + (f" and {count - _NAMED_EACH} more" if count > _NAMED_EACH else "")
            for reason, count in self.counts.items()
        ]


def walk_images(folder: str, passed_over: PassedOver) -> Iterator[tuple[str, ImageError | None]]:
    """Yield the path of each image below ``folder``, or a path that cannot be read together with the reason.

    A file is an image by the suffix of its name or by its content, whichever says so. Formats that are recognised but
    never decoded, such as GIF, are passed over by name. In sorted order, a folder's files before its subfolders.
    """
    for path, problem in walk_files(folder, passed_over):
        if problem is None:
            try:
                reason = reason_against_content(path)
            except OSError as error:
                yield path, _unreadable(path, error)
                continue
            if reason is not None:
                passed_over.add(reason, path)
                continue
        yield path, problem


def walk_files(folder: str, passed_over: PassedOver) -> Iterator[tuple[str, ImageError | None]]:
    """Yield the path of each regular file below ``folder``, or a path that cannot be read together with the reason.

    Only one folder's names are in memory at a time.
    """
    return _Walk(folder, passed_over).run(folder)


class _Walk:
    """One walk: which folders and link targets it has visited."""

    def __init__(self, root: str, passed_over: PassedOver) -> None:
        self._root = os.path.realpath(root)
        self._passed_over = passed_over
        self._folders: set[object] = set()
        self._targets: set[str] = set()

    def run(self, root: str) -> Iterator[tuple[str, ImageError | None]]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            entries, problem = self._enter(folder)
            if problem is not None:
                yield folder, problem
            subfolders: list[str] = []
            for entry in entries:
                try:
                    if self._takes_file(entry, subfolders):
                        yield entry.path, None
                except FileNotFoundError:
                    if entry.is_symlink():  # else removed while the folder was being read
                        yield entry.path, ImageError(f"{entry.path}: is a link whose target does not exist")
                except OSError as error:
                    yield entry.path, _unreadable(entry.path, error)
            waiting.extend(reversed(subfolders))

    def _enter(self, folder: str) -> tuple[list[os.DirEntry[str]], ImageError | None]:
        """Return a folder's entries, sorted, as far as they can be read; none where it was visited before."""
        entries: list[os.DirEntry[str]] = []
        try:
            state = Path(folder).stat()
            identity = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(folder)
            if identity in self._folders:
                self._passed_over.add(VISITED, folder)
                return [], None
            self._folders.add(identity)
            with os.scandir(folder) as found:
                entries.extend(found)
        except OSError as error:
            return sorted(entries, key=lambda entry: entry.name), _unreadable(folder, error)
        return sorted(entries, key=lambda entry: entry.name), None

    def _takes_file(self, entry: os.DirEntry[str], subfolders: list[str]) -> bool:
        """Whether the entry is a file to visit; a folder to visit is added to ``subfolders``. Raises OSError."""
        is_folder = entry.is_dir()
        reason = reason_against_name(entry.name, is_folder)
        if reason is None and entry.is_symlink():
            reason = self._reason_against_link(entry, is_folder)
        elif reason is None and not is_folder and self._targets:
            real = os.path.join(os.path.realpath(Path(entry.path).parent), entry.name)
            reason = VISITED if real in self._targets else None
        if reason is None and not is_folder and not stat.S_ISREG(entry.stat().st_mode):
            reason = NOT_REGULAR
        if reason is not None:
            self._passed_over.add(reason, entry.path)
        elif is_folder:
            subfolders.append(entry.path)
        return reason is None and not is_folder

    def _reason_against_link(self, entry: os.DirEntry[str], is_folder: bool) -> str | None:
        entry.stat()  # raises for a link to nothing
        target = os.path.realpath(entry.path)
        if self._is_visited_itself(target):
            return VISITED
        if is_folder:
            return None
        folder, name = os.path.split(target)
        state = Path(folder).stat()
        in_visited_folder = (state.st_dev, state.st_ino) in self._folders and not reason_against_name(name, False)
        if target in self._targets or in_visited_folder:
            return VISITED
        self._targets.add(target)
        return None

    def _is_visited_itself(self, target: str) -> bool:
        """Whether the walk gets to the target of a link without the link: inside the root and nowhere hidden."""
        if target == self._root:
            return True
        if not target.startswith(self._root.rstrip(os.sep) + os.sep):
            return False
        *folders, name = Path(target).relative_to(self._root).parts
        hidden = any(reason_against_name(folder, is_folder=True) for folder in folders)
        return not hidden and reason_against_name(name, is_folder=Path(target).is_dir()) is None


def reason_against_name(name: str, is_folder: bool) -> str | None:
    """Return why a file or folder of this name is passed over, ``None`` if it is not."""
    lowered = name.casefold()
    if is_folder:
        foreign = lowered in _FOREIGN_NAMES or lowered.startswith(_FOREIGN_BEGINNINGS)
        if foreign or lowered.endswith(_FOREIGN_ENDINGS):
            return FOREIGN_FOLDER
        return HIDDEN_FOLDER if name.startswith(".") else None
    if name.startswith("."):
        return HIDDEN_FILE
    return TEMPORARY_FILE if lowered.endswith(_TEMPORARY_ENDINGS) else None


def reason_against_content(path: str) -> str | None:
    """Return why a regular file is not taken for an image, ``None`` if it is. Raises :class:`OSError`."""
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return None
    # The name may have become a pipe since it was listed; opened like this, a pipe without a writer does not block.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return NOT_REGULAR
        head = file.read(HEAD_BYTES)
    image_format = identify_format(head)
    if image_format is None or (image_format is BMP and not _is_bmp(head)):
        return NOT_AN_IMAGE
    return None if image_format.decoder else f"{image_format.name} {image_format.noun}"


def _is_bmp(head: bytes) -> bool:
    """Whether a file is a BMP image: its two magic letters alone also begin a table with a column "BMI"."""
    return int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES


def _unreadable(path: str, error: OSError) -> ImageError:
    return ImageError(f"{path}: cannot be read: {error.strerror or error}")
