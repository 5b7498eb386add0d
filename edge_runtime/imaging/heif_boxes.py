"""The boxes of HEIC and AVIF files (ISO/IEC 14496-12 and 23008-12): which codec the photograph has, and where it lies.

Only what decides about the image is read. Whatever does not fit is left to the decoder, which refuses it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_DERIVED_TYPES = (b"grid", b"iden", b"iovl", b"tmap")
_MAX_DERIVATIONS = 8


class Box(NamedTuple):
    """One box: its four-letter kind and the range of its content in the file."""

    kind: bytes
    start: int
    end: int


def walk_boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions; ends at the first one that does not fit."""
    while start + 8 <= end:
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield Box(data[start + 4 : start + 8], start + header, start + size)
        start += size


def read_brands(data: bytes) -> tuple[bytes, ...]:
    """Return the brands of the ``ftyp`` box, the major one first, or nothing when the file has no such box."""
    size = int.from_bytes(data[:4], "big")
    if data[4:8] != b"ftyp" or size < 16:
        return ()
    return data[8:12], *(data[at : at + 4] for at in range(16, min(size, len(data)) - 3, 4))


def read_item_codec(data: bytes) -> bytes | None:
    """Return the four letters of the primary image's codec (``hvc1``, ``av01``, …), following grids and overlays.

    ``data`` may be the first kilobytes of a file. ``None`` when they do not say.
    """
    try:
        return _primary_item_codec(data)
    except (struct.error, IndexError):
        return None


def _primary_item_codec(data: bytes) -> bytes | None:
    parts = meta_boxes(data)
    if not {b"pitm", b"iinf"} <= parts.keys():
        return None
    types = {item: kind for item, kind, _ in item_entries(data, parts[b"iinf"])}
    item = primary_item(data, parts[b"pitm"])
    sources = _derivations(data, parts[b"iref"]) if b"iref" in parts else {}
    for _ in range(_MAX_DERIVATIONS):
        if types.get(item) not in _DERIVED_TYPES:
            return types.get(item)
        item = sources.get(item, -1)
    return None


def meta_boxes(data: bytes) -> dict[bytes, Box]:
    """Return the boxes inside the file's ``meta`` box by kind; empty where there is none."""
    for box in walk_boxes(data, 0, len(data)):
        if box.kind == b"meta":
            return {inner.kind: inner for inner in walk_boxes(data, box.start + 4, box.end)}
    return {}


def primary_item(data: bytes, pitm: Box) -> int:
    """Return the number of the item that is the photograph."""
    return int(struct.unpack_from(">I" if data[pitm.start] else ">H", data, pitm.start + 4)[0])


def item_entries(data: bytes, iinf: Box) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, type and the type's position in the file of every item that the ``iinf`` box lists."""
    first = iinf.start + (8 if data[iinf.start] else 6)
    for box in walk_boxes(data, first, iinf.end):
        version = data[box.start]
        if box.kind == b"infe" and version >= 2:
            number, at = struct.unpack_from(">H" if version == 2 else ">I", data, box.start + 4)[0], box.start + 8
            at += 0 if version == 2 else 2
            yield int(number), data[at : at + 4], at


def _derivations(data: bytes, iref: Box) -> dict[int, int]:
    """Return for every derived item the first item that it is made of."""
    found = {}
    layout = ">IHI" if data[iref.start] else ">HHH"
    for box in walk_boxes(data, iref.start + 4, iref.end):
        if box.kind == b"dimg":
            derived, _, source = struct.unpack_from(layout, data, box.start)
            found[derived] = source
    return found
