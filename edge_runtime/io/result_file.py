"""A file of predictions that grows line by line and is resumable after any interruption."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from edge_runtime.errors import DataError
from edge_runtime.io.output import CSV_COLUMNS

FILE_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


@dataclass(frozen=True)
class ResultFile:
    """An open result file: where predictions go, name, format, whether it is new, and the rows it already holds."""

    stream: TextIO
    name: str
    file_format: str
    new: bool
    rows: list[dict[str, Any]]


@contextmanager
def open_result_file(path: Path, resume: bool) -> Iterator[ResultFile]:
    """Open ``path`` for more predictions; its suffix gives the format.

    With ``resume`` an existing file's complete lines are read and kept, and a last line that was cut off is removed.
    Without, an existing file is refused. Raises :class:`DataError`.
    """
    file_format = FILE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise DataError(f"{path}: expected a name ending in {', '.join(FILE_FORMATS)}")
    if path.exists() and not resume:
        raise DataError(f"{path}: exists already; continue it with --resume, or remove it")
    if path.exists() and not path.is_file():  # a folder, a pipe or a device, which would be read without end
        raise DataError(f"{path}: expected a regular file, found something else")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _read_rows(path, file_format) if path.exists() else []
        new = not path.exists() or path.stat().st_size == 0
        stream = path.open("a", encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    failed = True
    try:
        yield ResultFile(stream, str(path), file_format, new, rows)
        failed = False
    finally:
        try:
            stream.close()
        except OSError as error:
            if not failed:  # else the disk was full when a line was written, and that error is on its way already
                raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def _read_rows(path: Path, file_format: str) -> list[dict[str, Any]]:
    _drop_torn_line(path)
    with path.open(encoding="utf-8", newline="") as lines:
        try:
            if file_format == "jsonl":
                return [_slim(json.loads(line)) for line in lines]
            reader = csv.DictReader(lines)
            if reader.fieldnames is not None and tuple(reader.fieldnames) != CSV_COLUMNS:
                raise ValueError("another header")
            return [_slim(row) for row in reader]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: expected predictions of this program, found something else ({error})") from None


def _slim(row: dict[str, Any]) -> dict[str, Any]:
    """Keep only what resuming needs, so that a long file takes little memory."""
    kept = {key: row[key] for key in ("engine", "precision", "views", "size_bytes", "modified_ns") if row.get(key)}
    return {"image": row["image"], **kept}


def _drop_torn_line(path: Path) -> None:
    """Truncate the file after its last line break: what follows is an incomplete line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 4096)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                position = start + found + 1
                break
            position = start
        if position < end:
            file.truncate(position)
