"""Predictions as lines: text or a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import DataError, DermedgeError, printable

if TYPE_CHECKING:
    from edge_runtime.prediction import Prediction

STANDARD_OUTPUT = "standard output"
"""What messages call it."""

_VERDICTS = {"diagnosis": "", "not_sure": "not sure, most likely ", "not_a_lesion_image": "not a lesion image? "}


class PredictionWriter(Protocol):
    """Writes one complete line for each image and flushes it before the call returns."""

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        """Write a prediction; ``more`` are further fields for JSON lines, and for CSV that has such columns."""

    def error(self, name: str, error: DermedgeError, **more: Any) -> None:
        """Write why an image has no prediction."""


def csv_columns(codes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of CSV for a model whose classes have these codes."""
    return (
        "image", "label", "confidence", "verdict", *codes, "engine", "precision", "views", "decode_ms", "features_ms",
        "head_ms", "warnings", "error",
    )  # fmt: skip


def result_columns(codes: Sequence[str]) -> tuple[str, ...]:
    """Return those of a result file, whose lines also say what they rest on (:mod:`edge_runtime.io.result_file`)."""
    return (*csv_columns(codes), "bundle", "age", "sex", "site", "heat_map", "size_bytes", "modified_ns", "changed_ns")


def prediction_writer(
    file_format: str,
    stream: TextIO | None,
    classes: ClassSet,
    *,
    new: bool = True,
    name: str = STANDARD_OUTPUT,
    columns: tuple[str, ...] | None = None,
) -> PredictionWriter:
    """Return the writer of a format for a model of these classes.

    ``name`` is the stream's in messages; ``columns`` are those of CSV, by default :func:`csv_columns`.
    With ``new`` the stream is empty, so a header is written first. Writing raises :class:`DataError` when the stream
    is closed or full.
    """
    lines = _Lines(stream, name)
    if file_format == "jsonl":
        return _JsonLines(lines)
    if file_format == "csv":
        return _Csv(lines, columns or csv_columns(classes.codes), new)
    return _Table(lines, classes) if file_format == "table" else _Text(lines, classes)


def variant_name(engine: str, precision: str, views: int) -> str:
    """Return how predictions were made, for people: engine, precision, and the number of views where several."""
    return f"{engine} {precision}" + (f" {views} views" if views > 1 else "")


def json_line(document: dict[str, Any], stream: TextIO | None = None) -> str:
    """Return one line of JSON for a stream. Names that it cannot show are escaped, and read back unchanged."""
    line = json.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        line.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(document, allow_nan=False)
    return line if line == printable(line) else json.dumps(document, allow_nan=False)


def write_text(stream: TextIO | None, text: str, name: str = STANDARD_OUTPUT) -> None:
    """Write and flush; what the stream's encoding lacks is written as escapes.

    Raises :class:`DataError` naming the stream when it is closed, full or otherwise cannot be written.
    """
    if stream is None:
        raise DataError(f"{name}: expected an open stream, found a closed one")
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class _Lines:
    """Where lines go: an open stream and its name in messages."""

    stream: TextIO | None
    name: str

    def write(self, line: str) -> None:
        write_text(self.stream, line + "\n", self.name)


class _ForPeople:
    """Base of the formats for people: errors go to stderr, in order with the lines."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def error(self, name: str, error: DermedgeError, **more: Any) -> None:
        print(f"error: {printable(str(error))}", file=sys.stderr)


class _Text(_ForPeople):
    def __init__(self, lines: _Lines, classes: ClassSet) -> None:
        super().__init__(lines)
        self._names = {one.code: one.name for one in classes.classes}

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        total_ms = sum(prediction.timing_ms.values())
        self._lines.write(
            f"{printable(name)}: {_VERDICTS[prediction.verdict]}{prediction.label} ({self._names[prediction.label]}) "
            f"{prediction.confidence:.1%}, then {_runners_up(prediction)} "
            f"[{variant_name(prediction.engine, prediction.precision, prediction.views)}, {total_ms:.1f} ms]"
        )


class _Table(_ForPeople):
    def __init__(self, lines: _Lines, classes: ClassSet) -> None:
        super().__init__(lines)
        width = max(6, *map(len, classes.codes))
        self._row = f"{{:<40}} {{:<{width}}} {{:>10}}  {{:<18}}  {{}}"
        lines.write(self._row.format("image", "label", "confidence", "verdict", "then"))

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        shown = printable(name)
        self._lines.write(
            self._row.format(
                shown if len(shown) <= 40 else "…" + shown[-39:],
                prediction.label,
                f"{prediction.confidence:.1%}",
                prediction.verdict,
                _runners_up(prediction),
            )
        )


class _JsonLines:
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        self._write({**prediction.to_json(name), **more})

    def error(self, name: str, error: DermedgeError, **more: Any) -> None:
        self._write({"image": name, "error": str(error), **more})

    def _write(self, document: dict[str, Any]) -> None:
        self._lines.write(json_line(document, self._lines.stream))


class _Csv:
    def __init__(self, lines: _Lines, columns: tuple[str, ...], new: bool) -> None:
        self._lines = lines
        self._columns = columns
        if new:
            self._write({column: column for column in columns})

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        fields = ("label", "confidence", "verdict", "engine", "precision", "views")
        self._write(
            {
                "image": name,
                **{field: getattr(prediction, field) for field in fields},
                **prediction.probabilities,
                **{f"{stage}_ms": round(milliseconds, 3) for stage, milliseconds in prediction.timing_ms.items()},
                "warnings": "; ".join(prediction.warnings),
                **more,
            }
        )

    def error(self, name: str, error: DermedgeError, **more: Any) -> None:
        self._write({"image": name, "error": str(error), **more})

    def _write(self, row: dict[str, Any]) -> None:
        values = [row.get(column, "") for column in self._columns]
        row_text = io.StringIO()
        csv.writer(row_text, lineterminator="").writerow(
            printable(value) if isinstance(value, str) else value for value in values
        )
        self._lines.write(row_text.getvalue())


def _runners_up(prediction: Prediction) -> str:
    """Return the second and third most probable class with their probabilities."""
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    return ", ".join(f"{code} {value:.1%}" for code, value in ranked[1:3])
