"""ICC profiles without a colour engine: is this sRGB, and a profile for colours that are described by a few numbers.

ICC.1:2022; sRGB is IEC 61966-2-1. What is read here needs neither Pillow's ImageCms nor lcms.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

_SRGB_COLUMNS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
"""The primaries of sRGB, adapted to D50 as profiles hold them."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Gamma, a, b, c, d of the parametric curve (type 3): (a·x + b)^gamma from d on, c·x below."""

Primaries = tuple[float, float, float, float, float, float, float, float]
"""Chromaticities x, y of white, red, green and blue, in the order of PNG's cHRM."""

SRGB_PRIMARIES: Primaries = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
PRIMARIES: dict[int, Primaries] = {
    1: SRGB_PRIMARIES,
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
"""Code points of ITU-T H.273 for BT.709, BT.2020 and Display P3."""

CURVES: dict[int, tuple[float, ...]] = {1: SRGB_CURVE, 4: (2.2,), 5: (2.8,), 6: SRGB_CURVE, 8: (1.0,), 13: SRGB_CURVE,
                                        14: SRGB_CURVE, 15: SRGB_CURVE}  # fmt: skip
"""Transfer characteristics of H.273; the camera curves of BT.601 to BT.2020 are shown as sRGB, as browsers do."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def is_srgb(profile: bytes) -> bool:
    """Whether a profile is sRGB: matrix and curves within what 8 bits can show. LUT profiles are never taken for it."""
    try:
        if profile[16:20] != b"RGB ":
            return False
        tags = _read_tags(profile)
        if b"A2B0" in tags or not _SRGB_COLUMNS.keys() <= tags.keys():
            return False
        for tag, expected in _SRGB_COLUMNS.items():
            column = struct.unpack_from(">3i", profile, tags[tag] + 8)
            if any(abs(found / 65536 - wanted) > 0.003 for found, wanted in zip(column, expected, strict=True)):
                return False
        return all(_is_srgb_curve(_read_curve(profile, tags[tag])) for tag in (b"rTRC", b"gTRC", b"bTRC"))
    except (struct.error, KeyError, ValueError, OverflowError, ZeroDivisionError):
        return False


def _read_tags(profile: bytes) -> dict[bytes, int]:
    count = struct.unpack_from(">I", profile, 128)[0]
    if count > 200:
        raise ValueError("more tags than profiles have")
    entries = (struct.unpack_from(">4sI", profile, 132 + 12 * index) for index in range(count))
    return dict(entries)


def _read_curve(profile: bytes, at: int) -> Callable[[float], float]:
    """Return a curve from 0..1 to linear light 0..1."""
    kind = profile[at : at + 4]
    if kind == b"para" and struct.unpack_from(">H", profile, at + 8)[0] == 3:
        gamma, a, b, c, d = (value / 65536 for value in struct.unpack_from(">5i", profile, at + 12))
        return lambda x: (a * x + b) ** gamma if x >= d else c * x
    count: int = struct.unpack_from(">I", profile, at + 8)[0]
    if kind != b"curv" or not 2 <= count <= 65536:
        raise ValueError("a curve that sRGB does not have")
    values: tuple[int, ...] = struct.unpack_from(f">{count}H", profile, at + 12)

    def interpolate(x: float) -> float:
        place = x * (count - 1)
        below = min(int(place), count - 2)
        return (values[below] + (place - below) * (values[below + 1] - values[below])) / 65535

    return interpolate


def _is_srgb_curve(curve: Callable[[float], float]) -> bool:
    def encode(light: float) -> float:
        return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055

    return all(abs(encode(max(curve(level / 255), 0.0)) - level / 255) < 0.75 / 255 for level in range(0, 256, 5))


def make_profile(primaries: Primaries, curve: tuple[float, ...]) -> bytes | None:
    """Return an ICC profile with these primaries and this curve: gamma alone, or five numbers as :data:`SRGB_CURVE`.

    ``None`` where the numbers make no colour space.
    """
    columns = _columns_at_d50(primaries)
    if columns is None or not all(-32768 < value < 32767 for value in curve):
        return None
    kind = 0 if len(curve) == 1 else 3
    numbers = np.rint(np.array(curve) * 65536).astype(int)
    bodies = [
        *(b"XYZ " + bytes(4) + struct.pack(">3i", *np.rint(column * 65536).astype(int)) for column in columns.T),
        b"para" + bytes(4) + struct.pack(f">HH{len(curve)}i", kind, 0, *numbers),
    ]
    offsets, at = [], 132 + 12 * 6
    for body in bodies:
        offsets.append((at, len(body)))
        at += len(body)
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    table = b"".join(name + struct.pack(">II", *offsets[min(index, 3)]) for index, name in enumerate(names))
    illuminant = struct.pack(">3i", *np.rint(_D50 * 65536).astype(int))
    header = struct.pack(">I4xI4s4s4s12x4s28x", at, 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp") + illuminant
    return header.ljust(128, b"\0") + struct.pack(">I", 6) + table + b"".join(bodies)


def _columns_at_d50(primaries: Primaries) -> np.ndarray | None:
    """Return the XYZ columns of red, green and blue, adapted from the white point to D50 (Bradford)."""
    points = np.array(primaries, dtype=np.float64).reshape(4, 2)
    if not (points[:, 1] > 0).all() or (points < 0).any() or (points.sum(axis=1) > 1).any():
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points)
    matrix = np.stack(colours, axis=1)
    if abs(np.linalg.det(matrix)) < 1e-6:
        return None
    scaled = matrix * np.linalg.solve(matrix, white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    return adaptation @ scaled if np.abs(scaled).max() < 100 else None
