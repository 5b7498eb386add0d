"""Predictions as lines: text or a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from edge_runtime.bundle.classes import CLASS_CODES, CLASSES
from edge_runtime.errors import ImageError

if TYPE_CHECKING:
    from edge_runtime.prediction import Prediction

CSV_COLUMNS = (
    "image", "label", "confidence", "verdict", *CLASS_CODES, "engine", "precision", "views", "decode_ms", "features_ms",
    "head_ms", "warnings", "error",
)  # fmt: skip

_FULL_NAMES: dict[str, str] = {lesion_class.code: lesion_class.name for lesion_class in CLASSES}
_VERDICTS = {"diagnosis": "", "not_sure": "not sure, most likely ", "not_a_lesion_image": "not a lesion image? "}
_TABLE = "{:<40} {:<6} {:>10}  {:<18}  {}"


class PredictionWriter(Protocol):
    """Writes one complete line for each image and flushes it before the call returns."""

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        """Write a prediction; ``more`` are fields that only JSON lines carry."""

    def error(self, name: str, error: ImageError) -> None:
        """Write why an image has no prediction."""


def prediction_writer(file_format: str, stream: TextIO, *, new: bool = True) -> PredictionWriter:
    """Return the writer of a format. With ``new`` the stream is empty, so a CSV header is written first."""
    if file_format == "jsonl":
        return _JsonLines(stream)
    if file_format == "csv":
        return _Csv(stream, new)
    return _Table(stream) if file_format == "table" else _Text(stream)


def variant_name(engine: str, precision: str, views: int) -> str:
    """Return how predictions were made, for people: engine, precision, and the number of views where several."""
    return f"{engine} {precision}" + (f" {views} views" if views > 1 else "")


def json_line(document: dict[str, Any]) -> str:
    """Return one line of JSON. File names that are not valid Unicode are escaped, and read back unchanged."""
    line = json.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(document, allow_nan=False)
    return line


def printable(name: str) -> str:
    """Return a file name as one line of text that any UTF-8 terminal or file takes."""
    return name.encode(errors="backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def error(self, name: str, error: ImageError) -> None:
        self._stream.flush()
        print(f"error: {printable(str(error))}", file=sys.stderr)


class _JsonLines(_Lines):
    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        self._line(json_line({**prediction.to_json(name), **more}))

    def error(self, name: str, error: ImageError) -> None:
        self._line(json_line({"image": name, "error": str(error)}))


class _Text(_Lines):
    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        others = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[1:3]
        total_ms = sum(prediction.timing_ms.values())
        self._line(
            f"{printable(name)}: {_VERDICTS[prediction.verdict]}{prediction.label} ({_FULL_NAMES[prediction.label]}) "
            f"{prediction.confidence:.1%}, then {', '.join(f'{code} {value:.1%}' for code, value in others)} "
            f"[{variant_name(prediction.engine, prediction.precision, prediction.views)}, {total_ms:.1f} ms]"
        )


class _Table(_Lines):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._line(_TABLE.format("image", "label", "confidence", "verdict", "then"))

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        others = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[1:3]
        shown = printable(name)
        self._line(
            _TABLE.format(
                shown if len(shown) <= 40 else "…" + shown[-39:],
                prediction.label,
                f"{prediction.confidence:.1%}",
                prediction.verdict,
                ", ".join(f"{code} {value:.1%}" for code, value in others),
            )
        )


class _Csv(_Lines):
    def __init__(self, stream: TextIO, new: bool) -> None:
        super().__init__(stream)
        self._row: Callable[[Iterable[Any]], Any] = csv.writer(stream, lineterminator="\n").writerow
        if new:
            self._write(CSV_COLUMNS)

    def prediction(self, name: str, prediction: Prediction, **more: Any) -> None:
        timing = prediction.timing_ms
        self._write(
            (
                printable(name), prediction.label, prediction.confidence, prediction.verdict,
                *prediction.probabilities.values(), prediction.engine, prediction.precision, prediction.views,
                *(round(timing[stage], 3) for stage in ("decode", "features", "head")),
                "; ".join(prediction.warnings), "",
            )
        )  # fmt: skip

    def error(self, name: str, error: ImageError) -> None:
        self._write((printable(name), *[""] * (len(CSV_COLUMNS) - 2), printable(str(error))))

    def _write(self, row: Iterable[Any]) -> None:
        self._row(row)
        self._stream.flush()
