"""What a command's image arguments stand for: files, folders, patterns and stdin, in order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import IMAGE_SUFFIXES

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def find_images(arguments: Iterable[str]) -> Iterator[tuple[str, ImageError | None]]:
    """Yield each image's path, or an argument that stands for no image together with the reason.

    Folders are searched recursively, in sorted order; patterns such as ``'a/**/*.jpg'`` are expanded where the shell
    did not; ``-`` is passed through. Only one folder's names are in memory at a time. Nothing is fetched over a
    network.
    """
    for argument in arguments:
        if _URL.match(argument):
            reason = "expected a file on this device, found a URL; nothing is fetched from a network"
            yield argument, ImageError(f"{argument}: {reason}")
        elif Path(argument).is_dir():
            yield from _or_nothing(images_in(argument), argument, "expected images in this folder, found none")
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            paths = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207 (pathlib takes no absolute pattern)
            matches = (path for path in paths if not Path(path).is_dir())
            yield from _or_nothing(matches, argument, "expected files matching this pattern, found none")
        else:
            yield argument, None


def images_in(folder: str) -> Iterator[str]:
    """Yield the paths of the images in a folder and the folders in it, by their file names' endings."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith("."):
                yield os.path.join(parent, file)


def _or_nothing(paths: Iterator[str], argument: str, reason: str) -> Iterator[tuple[str, ImageError | None]]:
    empty = True
    for path in paths:
        empty = False
        yield path, None
    if empty:
        yield argument, ImageError(f"{argument}: {reason}")
