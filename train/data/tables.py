"""Reading the tables of data sets as they are handed out and as spreadsheets save them.

Comma, semicolon or tab; UTF-8 with or without a byte-order mark, or UTF-16; column names in any case. What is read is
unambiguous; everything else is refused with its file, its line, and what to do about it.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edge_runtime.bundle.classes import ClassSet, ham10000
from edge_runtime.bundle.patient import MAX_AGE_YEARS
from edge_runtime.errors import DataError

TABLE_SUFFIXES = (".csv", ".tab", ".tsv", ".txt")
WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
UNKNOWN_WORDS = {
    "", "unknown", "n/a", "#n/a", "na", "n.a.", "<na>", "nan", "none", "null", "nil", "-", "--", "–", "—", "?", ".",
    "missing", "not available", "not applicable", "not known", "unspecified", "not specified", "undefined",
}  # fmt: skip
"""What tables write where a value is not known, in lower case; the same in every column."""

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

Row = dict[str, str]
"""The cells of a row by column name in lower case, stripped."""


def read_table(
    path: Path, columns: tuple[str, ...], *, former_names: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[int, Row]]:
    """Read a table that must have ``columns``; returns (line number, row) pairs. Empty rows are left out.

    ``former_names`` maps what a column was once called to its name in the rows returned. Raises :class:`DataError`.
    """
    text, delimiter = _open(path, columns, former_names)
    rows: list[tuple[int, Row]] = []
    reader = csv.reader(text, delimiter=delimiter)
    try:
        names = _names(next(reader, []), former_names)
        _check_names(path, names, columns)
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if any(values[len(names) :]):
                place = f"{path}, line {reader.line_num}"
                raise DataError(f"{place}: expected {len(names)} cells as in the first line, found {len(values)}")
            filled = values + [""] * (len(names) - len(values))
            rows.append((reader.line_num, dict(zip(names, filled, strict=False))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected a table: {error}") from None
    return rows


def column_names(path: Path) -> tuple[str, ...]:
    """Return a table's column names in lower case, none for a file that is no table."""
    try:
        text, delimiter = _open(path, (), {})
        return tuple(_names(next(csv.reader(text, delimiter=delimiter), []), {}))
    except (DataError, csv.Error):
        return ()


def is_unknown(value: str) -> bool:
    """Whether a cell says that its value is not known."""
    return value.strip().casefold() in UNKNOWN_WORDS


def parse_label(value: str, classes: ClassSet, place: str) -> int | None:
    """Word for a class → its index, ``None`` for a diagnosis of HAM10000 that is none of the classes.

    ``place`` names file and line in the message. Raises :class:`DataError` for any other word.
    """
    index = classes.index_of(value)
    if index is None and ham10000().index_of(value) is None:
        raise DataError(f"{place}: unknown class {value!r}, expected one of {' '.join(classes.codes)}")
    return index


def parse_number(value: str) -> float:
    """Return a number written with a decimal point or comma. Raises :class:`ValueError`."""
    return float(value.replace(",", ".") if _DECIMAL_COMMA.fullmatch(value) else value)


def parse_age(value: str, place: str) -> float | None:
    """Years as a number, ``None`` for an unknown value; "85+" is 85. Raises :class:`DataError`."""
    if is_unknown(value):
        return None
    try:
        age = parse_number(value.removesuffix("+"))
    except ValueError:
        raise DataError(f"{place}: expected an age in years, found {value!r}") from None
    if not 0 <= age <= MAX_AGE_YEARS:
        raise DataError(f"{place}: expected an age of 0 to {MAX_AGE_YEARS:.0f} years, found {value!r}")
    return age


def parse_word(value: str) -> str | None:
    """Lower case; ``None`` for an unknown value."""
    return None if is_unknown(value) else value.lower()


def _open(path: Path, columns: tuple[str, ...], former_names: Mapping[str, str]) -> tuple[io.StringIO, str]:
    """Return the table's text from its first line on, and its delimiter."""
    text = _decode(path)
    first, *rest = re.split(r"\r\n|\n|\r", text, maxsplit=1)
    stated = re.fullmatch(r"sep=(.)", first)  # Excel's own way of saying it
    if stated:
        return io.StringIO("".join(rest), newline=""), stated[1]
    wanted = {name.casefold() for name in columns}
    split = {one: _names(next(csv.reader([first], delimiter=one), []), former_names) for one in _DELIMITERS}
    fitting = [one for one, names in split.items() if wanted <= set(names)]
    most = max(len(names) for names in split.values())
    # where no delimiter gives the columns, the likeliest one makes the message about what is missing readable
    delimiter = next((one for one in fitting or _DELIMITERS if len(split[one]) == most), ",")
    return io.StringIO(text, newline=""), delimiter


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path}: expected a CSV table, found a workbook; save it as CSV in the spreadsheet program")
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: expected a CSV table in UTF-8 or UTF-16, found another encoding; save it as 'CSV UTF-8'"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: expected a CSV table, found binary data")
    return text


def _names(cells: list[str], former_names: Mapping[str, str]) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    return [former_names.get(name, name) for name in names]


def _check_names(path: Path, names: list[str], columns: tuple[str, ...]) -> None:
    for column in columns:
        if column.casefold() not in names:
            found = ", ".join(names) or "an empty file"
            raise DataError(f"{path}: missing column {column!r}, found {found}")
        if names.count(column.casefold()) > 1:
            raise DataError(f"{path}: column {column!r} occurs {names.count(column.casefold())} times, expected once")
