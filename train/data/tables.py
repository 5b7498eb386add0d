"""Reading CSV tables of data sets: columns by name, values checked, every complaint with file and line."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.patient import MAX_AGE_YEARS
from edge_runtime.errors import DataError


def read_table(
    path: Path, columns: tuple[str, ...], *, former_names: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file that must have ``columns``; returns (line number, row) pairs with stripped values.

    ``former_names`` maps what a column was once called to its name in the rows returned.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            found = [former_names.get(name.strip(), name.strip()) for name in reader.fieldnames or ()]
            for column in columns:
                if column not in found:
                    raise DataError(f"{path}: missing column {column!r}, found {', '.join(found) or 'an empty file'}")
            reader.fieldnames = found
            return [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)})
                for row in reader
            ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV table: {error}") from None


def parse_label(value: str, place: str) -> int:
    """Class code in any case → index; ``place`` names file and line in the message."""
    code = value.lower()
    if code not in CLASS_CODES:
        raise DataError(f"{place}: unknown class {value!r}, expected one of {' '.join(CLASS_CODES)}")
    return CLASS_CODES.index(code)


def parse_age(value: str, place: str) -> float | None:
    """Years as a number, ``None`` for an empty or unknown value."""
    if value.lower() in ("", "unknown", "nan", "na"):
        return None
    try:
        age = float(value)
    except ValueError:
        raise DataError(f"{place}: expected an age in years, found {value!r}") from None
    if not 0 <= age <= MAX_AGE_YEARS:
        raise DataError(f"{place}: expected an age of 0 to {MAX_AGE_YEARS:.0f} years, found {value!r}")
    return age


def parse_word(value: str) -> str | None:
    """Lower case; ``None`` for an empty or unknown value."""
    word = value.lower()
    return None if word in ("", "unknown", "nan", "na") else word
