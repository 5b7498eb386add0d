"""What the checks and the colour conversion of decoding cost, and how much damage they find.

    PYTHONPATH=. python tests/edge_runtime/imaging/measure_decoding.py [FOLDER]

Prints CPU milliseconds for a 600×450 image (lower quartile of 200), and, for up to 120 JPEGs of FOLDER, how many of
each kind of damage are refused and how many whole files.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.imaging import jpeg, png, tiff, webp
from edge_runtime.imaging.colour import convert_to_rgb
from edge_runtime.imaging.icc import PRIMARIES, SRGB_CURVE, make_profile
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import encoded
from tests.edge_runtime.imaging.test_damage import photograph

CLUSTER = 4096


def milliseconds(call: Callable[[], object], repetitions: int = 200) -> float:
    """Return the lower quartile of the CPU time of a call."""
    times = []
    for _ in range(repetitions):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return 1000 * sorted(times)[repetitions // 4]


def print_costs() -> None:
    image = photograph().resize((600, 450))
    for file_format, reader, options in (
        ("JPEG", jpeg, {"quality": 90}),
        ("JPEG", jpeg, {"quality": 90, "progressive": True}),
        ("PNG", png, {}),
        ("WEBP", webp, {}),
        ("TIFF", tiff, {}),
    ):
        data = encoded(image, file_format, **options)
        reading = milliseconds(lambda reader=reader, data=data: reader.read_contents(data))
        total = milliseconds(lambda data=data: load_image_hwc(data))
        print(f"{file_format} {options}: checks {reading:.2f} ms of {total:.2f} ms")
    profile = make_profile(PRIMARIES[12], SRGB_CURVE)
    print(f"Display P3 to sRGB: {milliseconds(lambda: convert_to_rgb(image, profile)):.2f} ms")


def damages(data: bytes, start: int) -> dict[str, bytes]:
    """Return a JPEG damaged in several ways at a random place of its image data."""
    at = start + int((len(data) - start) * random.uniform(0.05, 0.9))
    behind = data[at + CLUSTER :]
    return {
        "ends early with an end marker": data[:at] + b"\xff\xd9",
        "zeros to the end": data[:at] + bytes(len(data) - at - 2) + b"\xff\xd9",
        "a cluster of zeros": data[:at] + bytes(CLUSTER) + behind,
        "a cluster of random bytes": data[:at] + os.urandom(CLUSTER) + behind,
        "a cluster left out": data[:at] + behind,
        "one byte altered": data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :],
    }


def is_refused(data: bytes) -> bool:
    try:
        load_image_hwc(data)
    except ImageError:
        return True
    return False


def print_findings(folder: str) -> None:
    from PIL import Image

    random.seed(0)
    paths = sorted(Path(folder).rglob("*.jpg"))
    print(f"whole files refused: {sum(is_refused(path.read_bytes()) for path in paths)} of {len(paths)}")
    for name, options in (("sequential", {"quality": 90}), ("progressive", {"quality": 90, "progressive": True})):
        found: dict[str, list[bool]] = {}
        for path in random.sample(paths, min(120, len(paths))):
            data = encoded(Image.open(path).convert("RGB").resize((600, 450)), "JPEG", **options)
            start = data.index(b"\xff\xda") + 14
            for kind, damaged in damages(data, start).items():
                found.setdefault(kind, []).append(is_refused(damaged))
        for kind, refused in found.items():
            print(f"{name}, {kind}: {sum(refused)} of {len(refused)} refused")


if __name__ == "__main__":
    print_costs()
    if len(sys.argv) > 1:
        print_findings(sys.argv[1])
