"""What the reader of a file format hands to decoding: the part that holds the pixels, and the metadata that count.

Metadata never reaches a decoder. A reader copies what the pixels need and reads orientation and colour itself, so that
no odd tag, no bomb and no half-written block of metadata can decide about an image whose pixels are whole.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class Contents(NamedTuple):
    """One image of a file."""

    data: bytes
    """A file for the decoder, without metadata."""
    orientation: int = 1
    """How the stored rows and columns are to be shown: 1 to 8, as EXIF and TIFF 6.0 number them."""
    profile: bytes | None = None
    """ICC profile of the colours, as it stands in the file; ``None`` means sRGB."""
    scan_end: int = 0
    """JPEG alone: where the entropy-coded data of the only scan ends in ``data``; 0 when there are several scans."""


class UnsupportedImageError(Exception):
    """The file is whole but holds no image that is decoded; the message says what it is."""


_ORIENTATION = 0x0112
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def read_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in the first directory of an EXIF block; 1 where it does not say.

    ``exif`` begins with the TIFF header or with ``Exif\\0\\0`` before it. Nothing else of the block is looked at.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        for entry in range(struct.unpack_from(order + "H", tiff, start)[0]):
            tag, kind, count = struct.unpack_from(order + "HHI", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION and count == 1 and kind in _WHOLE_NUMBERS:
                value = struct.unpack_from(order + _WHOLE_NUMBERS[kind], tiff, start + 10 + 12 * entry)[0]
                return value if 1 <= value <= 8 else 1
    except struct.error:  # the block ends early
        pass
    return 1


def find_zeros(data: bytes, start: int, end: int, count: int) -> int:
    """Return how many bytes in a row are zero where at least ``count`` are, within a range; 0 when nowhere so many are.

    A file system that lost a cluster, or a download that was never finished, leaves zeros.
    """
    first = data.find(bytes(count), start, end)
    if first < 0:
        return 0
    return end - first - len(data[first:end].lstrip(b"\0"))
