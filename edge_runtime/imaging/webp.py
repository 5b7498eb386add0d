"""WebP files: the chunks around the image, and whether its data are whole. RFC 9649."""

from __future__ import annotations

from edge_runtime.imaging.contents import Contents, find_zeros, read_orientation

_ZERO_RUN = 128
_PIXELS_PER_ZERO = 4096
"""Flat areas in lossy WebP give up to one zero byte for 10,000 pixels."""
_MAX_PROFILE_BYTES = 4 * 2**20


def read_contents(data: bytes) -> Contents:
    """Return a WebP for the decoder, with orientation and profile beside it.

    Raises :class:`ValueError` when image data are missing. The arithmetic and prefix codes of WebP have no checksum:
    altered bytes go unnoticed unless many in a row are zero.
    """
    orientation, profile, at = 1, None, 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start, end = at + 8, at + 8 + size
        if kind in (b"VP8 ", b"VP8L", b"ANMF"):
            if end > len(data):
                raise ValueError(f"the data end after {100 * (len(data) - start) // size} % of the image")
            zeros = find_zeros(data, start, end, _zero_run(kind, data[start : start + 10])) if kind != b"ANMF" else 0
            if zeros:
                raise ValueError(f"{zeros} bytes in a row of the image data are zero")
        elif kind == b"EXIF":
            orientation = read_orientation(data[start:end])
        elif kind == b"ICCP" and size <= _MAX_PROFILE_BYTES:
            profile = data[start:end]
        at = end + size % 2
    return Contents(data, orientation, profile)


def _zero_run(kind: bytes, header: bytes) -> int:
    """Return how many zero bytes in a row no encoder writes into the image data that begin with this header."""
    if kind != b"VP8 ":
        return _ZERO_RUN
    width, height = (int.from_bytes(header[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return _ZERO_RUN + width * height // _PIXELS_PER_ZERO
