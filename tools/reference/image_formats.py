"""The reference page of the image formats, from the table that decoding, folders and the web page read."""

from __future__ import annotations

from edge_runtime.imaging.formats import FORMATS

INTRODUCTION = """# Image formats

A file's content decides its format, never its name. The device commands, training, the REST API and the web page use
this table. Other formats that are recognised (raw photographs, GIF, JPEG XL, DICOM, PDF and more) are refused by name.

| format | media types | usual endings | needs |
|---|---|---|---|
"""


def image_formats_page() -> str:
    """Return the page in Markdown."""
    rows = [
        f"| {one.name} | {_code(one.media_types)} | {_code(one.suffixes)} | {one.requirement[1] or 'nothing more'} |\n"
        for one in FORMATS
    ]
    return INTRODUCTION + "".join(rows)


def _code(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)
