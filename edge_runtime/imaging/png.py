"""PNG files: the chunks that make the image, checked, without text, times and other metadata.

W3C: Portable Network Graphics, third edition (2025).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from edge_runtime.imaging.contents import Contents, read_orientation
from edge_runtime.imaging.icc import CURVES, PRIMARIES, SRGB_CURVE, SRGB_PRIMARIES, Primaries, make_profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IEND = b"\0\0\0\0IEND\xaeB\x60\x82"
_MAX_PROFILE_BYTES = 4 * 2**20


def read_contents(data: bytes) -> Contents:
    """Return the decoder's part of a PNG. Raises :class:`ValueError` when a chunk of the image is cut or altered."""
    kept, described = [SIGNATURE], dict[bytes, bytes]()
    view = memoryview(data)
    for kind, start, end in _chunks(data):
        if kind in (b"IHDR", b"PLTE", b"IDAT"):
            if not _checksum_fits(view, start, end):
                raise ValueError(f"the checksum of a chunk {kind.decode()} does not fit")
            kept.append(data[start:end])
        elif kind == b"tRNS" and _checksum_fits(view, start, end):
            kept.append(data[start:end])
        elif kind in (b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"eXIf"):
            described.setdefault(kind, data[start + 8 : end - 4])
    return Contents(b"".join((*kept, _IEND)), read_orientation(described.get(b"eXIf", b"")), _profile_of(described))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk up to the end of the image."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        if end > len(data):
            if kind in (b"IHDR", b"PLTE", b"IDAT"):
                raise ValueError(f"the data end inside a chunk {kind.decode()}")
            return
        yield kind, at, end
        at = end


def _checksum_fits(view: memoryview, start: int, end: int) -> bool:
    return zlib.crc32(view[start + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")


def _profile_of(described: dict[bytes, bytes]) -> bytes | None:
    """Return the profile that the colour chunks describe, in the standard's order of precedence; ``None`` for sRGB."""
    if b"cICP" in described and len(described[b"cICP"]) == 4:
        primaries, transfer = described[b"cICP"][:2]
        return profile_from_code_points(primaries, transfer)
    if b"iCCP" in described:
        return _inflate_profile(described[b"iCCP"])
    if b"sRGB" in described:
        return None
    return _profile_from_gamma(described.get(b"gAMA"), described.get(b"cHRM"))


def profile_from_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return the profile for code points of ITU-T H.273; ``None`` for sRGB and for what has no profile (PQ, HLG)."""
    if primaries not in PRIMARIES or transfer not in CURVES:
        return None
    if PRIMARIES[primaries] == SRGB_PRIMARIES and CURVES[transfer] == SRGB_CURVE:
        return None
    return make_profile(PRIMARIES[primaries], CURVES[transfer])


def _inflate_profile(chunk: bytes) -> bytes | None:
    _, _, compressed = chunk.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(compressed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile or None


def _profile_from_gamma(gamma_chunk: bytes | None, primaries_chunk: bytes | None) -> bytes | None:
    """Return the profile for the chunks gAMA and cHRM. A gamma of 1/2.2 is how files say sRGB to older readers."""
    gamma = int.from_bytes(gamma_chunk, "big") / 100_000 if gamma_chunk and len(gamma_chunk) == 4 else 0.0
    curve = SRGB_CURVE if gamma <= 0 or abs(gamma - 1 / 2.2) < 0.005 else (1 / gamma,)
    primaries: Primaries = SRGB_PRIMARIES
    if primaries_chunk and len(primaries_chunk) == 32:
        found = [value / 100_000 for value in struct.unpack(">8I", primaries_chunk)]
        if max(abs(one - other) for one, other in zip(found, SRGB_PRIMARIES, strict=True)) > 0.005:
            primaries = (found[0], found[1], found[2], found[3], found[4], found[5], found[6], found[7])
    if curve == SRGB_CURVE and primaries == SRGB_PRIMARIES:
        return None
    return make_profile(primaries, curve)
