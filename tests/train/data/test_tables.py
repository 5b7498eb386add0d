"""Tables as data sets and spreadsheets really write them: what is unambiguous is read, the rest says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import DataError
from train.data.tables import parse_age, parse_word, read_table

COLUMNS = ("image_id", "dx")
PLAIN = "image_id,dx,age\nA,nv,40.0\nB,mel,\n"
ROWS = [(2, {"image_id": "A", "dx": "nv", "age": "40.0"}), (3, {"image_id": "B", "dx": "mel", "age": ""})]


def with_delimiter(delimiter: str) -> str:
    return PLAIN.replace(",", delimiter)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        with_delimiter(";").encode(),
        with_delimiter("\t").encode("utf-16"),
        with_delimiter(";").encode("utf-8-sig"),
        b'"image_id"\t"dx"\t"age"\n"A"\t"nv"\t40.0\n"B"\t"mel"\t\n',
        b"Image_ID , DX,Age\nA, nv ,40.0\nB,mel\n",
        (PLAIN + ",,\n\n").encode(),
        b"image_id,dx,age,\nA,nv,40.0,\nB,mel,,\n".replace(b",\n", b"\n"),
    ],
    ids=["plain", "mark", "crlf", "cr", "semicolon", "utf-16 tab", "excel", "quoted tab", "spelling", "empty", "short"],
)
def test_what_is_unambiguous_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert read_table(path, COLUMNS) == ROWS


def test_a_stated_delimiter_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("sep=;\r\nimage_id;dx\r\nA;nv\r\n", newline="")
    assert [row for _, row in read_table(path, COLUMNS)] == [{"image_id": "A", "dx": "nv"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "found a workbook; save it as CSV in the spreadsheet program"),
        (b"\xd0\xcf\x11\xe0rest", "found a workbook"),
        ("image_id,dx,n\u00f6te\nA,nv,x\n".encode("latin-1"), "found another encoding; save it as 'CSV UTF-8'"),
        (b"image_id,dx\nA,\0\n", "expected a CSV table, found binary data"),
        (b"image_id,dx\nA,nv,more\n", "line 2: expected 2 cells as in the first line, found 3"),
        (b"image_id,dx,dx\nA,nv,mel\n", "column 'dx' occurs 2 times, expected once"),
        (b"image_id;diagnosis\nA;nv\n", "missing column 'dx', found image_id, diagnosis"),
        (b"", "missing column 'image_id', found an empty file"),
        (b"image_id,dx\nA," + b"x" * 200_000, "expected a table: field larger"),
    ],
)
def test_what_is_not_is_named_with_its_cure(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(path, COLUMNS)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "word",
    ["", " ", "unknown", "Unknown", "N/A", "NA", "n/a", "None", "none", "NaN", "null", "NULL", "-", "—", "?", "#N/A"],
)
def test_one_list_of_words_for_unknown(word: str) -> None:
    assert parse_word(word) is None
    assert parse_age(word, "here") is None


def test_ages_as_people_write_them() -> None:
    assert [parse_age(text, "here") for text in ("40", "40.5", "40,5", "85+")] == [40.0, 40.5, 40.5, 85.0]
    for text in ("old", "4,0,0", "131", "-1", "nan years"):
        with pytest.raises(DataError, match="here: expected an age"):
            parse_age(text, "here")
