"""The folder of a run's heat maps: one file for each image, also where several images have one name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_runtime.errors import ImageError, printable
from edge_runtime.imaging.overlay import render_side_by_side
from edge_runtime.io.image_file import write_png
from edge_runtime.io.result_file import Row
from edge_runtime.prediction import Prediction


class MapFolder:
    """Writes overlays as ``<stem>.png``, numbering the stems that occur twice.

    ``rows`` are what a resumed file already has: their overlays keep their names.
    """

    def __init__(self, folder: Path, rows: Iterable[Row]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder}: cannot be made: {error.strerror or error}") from None
        self._folder = folder
        self._used = {_key(Path(row.heat_map).stem) for row in rows if row.heat_map}

    def holds(self, name: str, row: Row) -> bool:
        """Whether the heat map that the row of an image names is still there."""
        return bool(row.heat_map) and (self._folder / f"{_recorded_stem(name, row)}.png").is_file()

    def write(self, name: str, row: Row | None, prediction: Prediction) -> str:
        """Write the heat map of an image, over the one of its ``row`` in a resumed file; return its path.

        Raises :class:`~edge_runtime.errors.DataError` when it cannot be written.
        """
        assert prediction.class_activation_map is not None
        stem = _recorded_stem(name, row) if row is not None and row.heat_map else self._free_stem(name)
        path = self._folder / f"{stem}.png"
        write_png(path, render_side_by_side(prediction.image_hwc, prediction.class_activation_map))
        self._used.add(_key(stem))  # only what was written counts, as only that has a line to resume from
        return str(path)

    def _free_stem(self, name: str) -> str:
        stem = base = _stem(name)
        number = 1
        while _key(stem) in self._used:
            number += 1
            stem = f"{base}-{number}"
        return stem


def _key(stem: str) -> str:
    """Return what two stems share that a file system which ignores case, or a CSV file, cannot tell apart."""
    return printable(stem).casefold()


def _stem(name: str) -> str:
    return Path(name).stem if name != "-" else "stdin"


def _recorded_stem(name: str, row: Row) -> str:
    """Return the stem that the row names. CSV has it escaped, so only the number after it is taken from there."""
    stem, recorded = _stem(name), Path(row.heat_map).stem
    return stem + recorded[len(stem if recorded.startswith(stem) else printable(stem)) :]
