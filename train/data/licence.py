"""The licence of a data set's images, as the data set itself states it.

The licence is stored in checkpoint, bundle and model card, so nothing is assumed: where a folder does not state a
licence, it is ``unknown`` until someone states it with ``--data-licence``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from train.demo.marker import is_demo

GENERATED = "generated images, no restriction"
UNKNOWN = "unknown"
_LONGEST = 200
_LICENCE_FILES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENCE.txt", "LICENSE.md", "LICENCE.md")
_README_FILES = ("README.md", "README.txt", "README")
_LICENCE_LINE = re.compile(r"^[\s#>*_|-]*licen[cs]e[\s*_]*[:=][\s*_]*(?P<name>\S.*)$", re.IGNORECASE)


def data_licence(folder: Path, stated: str | None, of_images: Iterable[str]) -> str:
    """Return the licence of the images in ``folder``, in one line.

    In this order: what the user ``stated``, the licences that the data set's table gives for its images, the first
    line of a LICENSE file, a line ``licence: …`` of a README. The demo set is always :data:`GENERATED`.
    """
    if is_demo(folder):
        return GENERATED
    found = [stated, ", ".join(sorted(set(of_images))), _from_licence_file(folder), _from_readme(folder)]
    return next((" ".join(one.split())[:_LONGEST] for one in found if one and one.strip()), UNKNOWN)


def _from_licence_file(folder: Path) -> str | None:
    for lines in _texts(folder, _LICENCE_FILES):
        return next((line.strip(" #*") for line in lines if line.strip(" #*")), None)
    return None


def _from_readme(folder: Path) -> str | None:
    for lines in _texts(folder, _README_FILES):
        for match in map(_LICENCE_LINE.match, lines):
            if match:
                return match["name"].strip(" *_|")
    return None


def _texts(folder: Path, names: tuple[str, ...]) -> Iterable[list[str]]:
    for name in names:
        try:
            yield (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
