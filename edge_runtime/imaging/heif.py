"""HEIC and AVIF files: metadata hidden from the decoder, and the image's data checked. ISO/IEC 14496-12 and 23008-12.

Rotation and flips are properties of the image in these files; EXIF's orientation does not count.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edge_runtime.imaging.contents import Contents, find_zeros
from edge_runtime.imaging.heif_boxes import Box, item_entries, meta_boxes, walk_boxes
from edge_runtime.imaging.png import profile_from_code_points

_METADATA_TYPES = (b"Exif", b"mime", b"uri ")
_ZERO_RUNS = {b"hvc1": 16, b"hev1": 16, b"av01": 128}
"""So many zero bytes in a row are in no coded image: HEVC never writes three but in the lengths of its units."""


def read_contents(data: bytes) -> Contents:
    """Return a HEIC or AVIF file without its EXIF and XMP.

    Raises :class:`ValueError` when data of an image in it are missing or zero.
    """
    try:
        boxes = meta_boxes(data)
        items = list(item_entries(data, boxes[b"iinf"])) if b"iinf" in boxes else []
        extents = list(_item_extents(data, boxes[b"iloc"])) if b"iloc" in boxes else []
        profile = _profile_of(data, boxes)
    except (struct.error, IndexError):  # left to the decoder
        return Contents(data)
    _check_extents(data, {number: kind for number, kind, _ in items}, extents)
    without = bytearray(data)
    for _, kind, at in items:
        if kind in _METADATA_TYPES:
            without[at : at + 4] = b"skip"
    return Contents(bytes(without), 1, profile)


def _check_extents(data: bytes, kinds: dict[int, bytes], extents: list[tuple[int, int, int]]) -> None:
    for number, start, size in extents:
        if kinds.get(number) not in _ZERO_RUNS:
            continue
        if start + size > len(data):
            raise ValueError("the data end inside the image")
        zeros = find_zeros(data, start, start + size, _ZERO_RUNS[kinds[number]])
        if zeros:
            raise ValueError(f"{zeros} bytes in a row of the image data are zero")


def _item_extents(data: bytes, iloc: Box) -> Iterator[tuple[int, int, int]]:
    """Yield item, position in the file and size of everything that lies in the file itself."""
    version, at = data[iloc.start], iloc.start + 4
    sizes = struct.unpack_from(">H", data, at)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    wide = 4 if version == 2 else 2

    def take(size: int) -> int:
        nonlocal at
        at += size
        if at > iloc.end:
            raise IndexError("the box ends early")
        return int.from_bytes(data[at - size : at], "big")

    take(2)
    for _ in range(take(wide)):
        number = take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        for _ in range(take(2)):
            take(index_size)
            offset, size = take(offset_size), take(length_size)
            if method == 0 and size:
                yield number, base + offset, size


def _profile_of(data: bytes, boxes: dict[bytes, Box]) -> bytes | None:
    """Return the image's ICC profile, or one for its code points (nclx); ``None`` for sRGB."""
    if b"iprp" not in boxes:
        return None
    properties = next((box for box in walk_boxes(data, *boxes[b"iprp"][1:]) if box.kind == b"ipco"), None)
    if properties is None:
        return None
    colours = [box for box in walk_boxes(data, *properties[1:]) if box.kind == b"colr"]
    for box in colours:
        if data[box.start : box.start + 4] in (b"prof", b"rICC"):
            return data[box.start + 4 : box.end]
    for box in colours:
        if data[box.start : box.start + 4] == b"nclx":
            return profile_from_code_points(*struct.unpack_from(">HH", data, box.start + 4))
    return None
