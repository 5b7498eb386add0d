"""A file of predictions that grows line by line and is resumable after any interruption.

Each line says what it rests on: the bundle, the variant, the patient's data, and the image file's size and
times. A resumed run takes over only what still holds: lines of other settings are refused, and an image whose file has
changed is classified again. Its new line is appended; the last line of an image counts.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edge_runtime.errors import DataError, printable
from edge_runtime.io.output import csv_columns, result_columns, variant_name

if TYPE_CHECKING:
    from edge_runtime.bundle.patient import PatientMetadata
    from edge_runtime.classifier import Classifier

FILE_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


@dataclass(frozen=True)
class FileState:
    """What tells one version of a file from the next: path, size in bytes, and two times in nanoseconds.

    The time of the last change of its state counts too, since copying tools set the modification time back.
    """

    image: str
    size_bytes: int
    modified_ns: int
    changed_ns: int

    def fields(self) -> dict[str, int]:
        """Return what a line says of it."""
        return {"size_bytes": self.size_bytes, "modified_ns": self.modified_ns, "changed_ns": self.changed_ns}


def file_state(path: str) -> FileState | None:
    """Return the file's state, or ``None`` when there is no such file."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return None
    return FileState(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@dataclass(frozen=True)
class RunSettings:
    """What all predictions of a run rest on, in the words of its messages."""

    variant: str
    bundle: str
    patient: str
    heat_maps: str

    def require(self, before: RunSettings, path: Path | str) -> None:
        """Raise :class:`DataError` when a line of ``path`` rests on other settings than these."""
        for then, now in zip(astuple(before), astuple(self), strict=True):
            if then != now:
                raise DataError(f"{path}: was begun with {then}, but this run uses {now}")


def _settings(fields: dict[str, Any], folder: str | None) -> RunSettings:
    """Return the settings that a line's fields tell; heat maps are in ``folder``."""
    patient = ", ".join(f"{name} {printable(str(fields[name]))}" for name in ("age", "sex", "site") if fields.get(name))
    return RunSettings(
        variant_name(fields["engine"], fields["precision"], int(fields.get("views") or 1)),
        f"bundle {fields['bundle']}" if fields.get("bundle") else "a bundle that its lines do not name",
        patient or "no patient's data",
        f"heat maps in {printable(folder)}" if folder else "no heat maps",
    )


def settings_of_run(classifier: Classifier, fields: dict[str, Any], folder: Path | None) -> RunSettings:
    """Return the settings of the present run, whose lines have these ``fields``."""
    variant = {"engine": classifier.engine, "precision": classifier.precision, "views": classifier.views}
    return _settings({**variant, **fields}, str(folder) if folder else None)


def run_fields(classifier: Classifier, patient: PatientMetadata | None) -> dict[str, Any]:
    """Return what a run adds to each of its lines: the bundle, as the first 16 digits of its manifest's checksum, and
    what is known of the patient."""
    fields: dict[str, Any] = {"bundle": classifier.manifest.manifest_sha256[:16]}
    if patient is not None:
        words = {"sex": patient.sex, "site": patient.site}
        fields["age"] = patient.age if patient.age is None else float(patient.age)
        fields |= {name: (word or "").strip().lower() for name, word in words.items()}
    return {name: value for name, value in fields.items() if value not in (None, "", "unknown")}


@dataclass(frozen=True)
class Row:
    """What a line of a result file says of an image; ``settings`` is ``None`` where it holds an error."""

    image: str
    state: FileState | None
    settings: RunSettings | None
    heat_map: str
    error: str

    def unchanged(self, state: FileState | None) -> bool:
        """Whether the image's file has the size and the times that the line tells."""
        return state is not None and self.state is not None and self.state.fields() == state.fields()


@dataclass(frozen=True)
class ResultFile:
    """An open result file: where predictions go, name, format, whether it is new, and the last row of each image."""

    stream: TextIO
    name: str
    file_format: str
    new: bool
    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, image: str) -> Row | None:
        """Return the last row of an image, whose name CSV has as one line."""
        return self.rows.get(image) or self.rows.get(printable(image))


@contextmanager
def open_result_file(path: Path, codes: Sequence[str], resume: bool) -> Iterator[ResultFile]:
    """Open ``path`` for more predictions of a model with these class codes; its suffix gives the format.

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
        rows = _read_rows(path, file_format, codes) if path.exists() else {}
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


def _read_rows(path: Path, file_format: str, codes: Sequence[str]) -> dict[str, Row]:
    _drop_torn_line(path)
    with path.open(encoding="utf-8", newline="") as lines:
        try:
            if file_format == "jsonl":
                return _last_rows(json.loads(line) for line in lines)
            reader = csv.DictReader(lines)
            header = tuple(reader.fieldnames or result_columns(codes))
            if header == csv_columns(codes):
                raise DataError(f"{path}: expected a column bundle, found a table of an earlier version; begin another")
            if header != result_columns(codes):
                raise ValueError("another header, or other classes than this model's")
            return _last_rows(reader)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: expected predictions of this program, found something else ({error})") from None


def _last_rows(lines: Iterable[dict[str, Any]]) -> dict[str, Row]:
    """Keep only what resuming needs, so that a long file takes little memory."""
    rows: dict[str, Row] = {}
    known: dict[RunSettings, RunSettings] = {}
    for line in lines:
        image, heat_map = line["image"], line.get("heat_map") or ""
        numbers = [line.get(name) for name in ("size_bytes", "modified_ns", "changed_ns")]
        state = None if {None, ""} & {*numbers} else FileState(image, *(int(number or 0) for number in numbers))
        settings = None
        if not line.get("error"):
            settings = _settings(line, str(Path(heat_map).parent) if heat_map else None)
            settings = known.setdefault(settings, settings)
        rows[image] = Row(image, state, settings, heat_map, line.get("error") or "")
    return rows


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
