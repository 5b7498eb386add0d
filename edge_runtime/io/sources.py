"""What a command's image arguments stand for: files, folders, patterns and stdin, in order."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.imaging.decoding import MAX_FILE_BYTES
from edge_runtime.io.walk import PassedOver, walk_images

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SHELL_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_NOT_FILES = {
    stat.S_IFIFO: "named pipe (pass its content on stdin, as -)",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def find_images(arguments: Iterable[str], passed_over: PassedOver) -> Iterator[tuple[str, ImageError | None]]:
    """Yield each image's path, or what stands for no image together with the reason.

    Folders are searched recursively, in sorted order (:mod:`edge_runtime.io.walk`, which counts in ``passed_over`` what
    it leaves out); patterns such as ``'a/**/*.jpg'`` are expanded where the shell did not; ``-`` is passed through.
    Only one folder's names are in memory at a time. Nothing is fetched over a network.
    """
    for argument in arguments:
        if _URL.match(argument):
            reason = "expected a file on this device, found a URL; nothing is fetched from a network"
            yield argument, ImageError(f"{argument}: {reason}")
        elif Path(argument).is_dir():
            found = walk_images(argument, passed_over)
            yield from _or_nothing(found, argument, "expected images in this folder, found none")
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            matches = _matches(argument, passed_over)
            yield from _or_nothing(matches, argument, "expected files matching this pattern, found none")
        else:
            yield argument, _not_a_file(argument)


def _matches(pattern: str, passed_over: PassedOver) -> Iterator[tuple[str, ImageError | None]]:
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 (pathlib takes no absolute pattern)
        if not Path(path).is_dir():
            yield path, _not_a_file(path)
        elif "**" not in pattern:
            passed_over.add("folder that a pattern of files matches", path)


def _not_a_file(path: str) -> ImageError | None:
    """Return the error for what would block or never end when it is read; decoding reports everything else."""
    try:
        kind = stat.S_IFMT(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return None
    if kind not in _NOT_FILES or path == "-" or path.startswith(_SHELL_PIPES):
        return None
    return ImageError(f"{path}: expected a file, found a {_NOT_FILES[kind]}")


def read_stdin() -> bytes:
    """Return the image on standard input. Raises :class:`ImageError` when it is closed, unreadable or too large."""
    if sys.stdin is None:
        raise ImageError("-: expected an image on standard input, which is closed")
    try:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"-: standard input cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"-: expected at most {MAX_FILE_BYTES // 2**20} MiB, found more")
    return data


def _or_nothing(
    found: Iterator[tuple[str, ImageError | None]], argument: str, reason: str
) -> Iterator[tuple[str, ImageError | None]]:
    empty = True
    for item in found:
        empty = False
        yield item
    if empty:
        yield argument, ImageError(f"{argument}: {reason}")
