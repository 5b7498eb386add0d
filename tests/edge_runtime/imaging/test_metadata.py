"""Metadata decide about nothing but orientation and colour, however odd, broken or large they are."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from edge_runtime.imaging.contents import read_orientation
from edge_runtime.imaging.formats import AVIF
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import blob_image, encoded

UPRIGHT = blob_image(320, 240)
STORED_TRANSPOSES = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def stored(orientation: int) -> Image.Image:
    """Return the pixels that have to be shown with this orientation to be upright."""
    transpose = STORED_TRANSPOSES[orientation]
    return UPRIGHT if transpose is None else UPRIGHT.transpose(transpose)


ON_ITS_SIDE = stored(6)


def tiff_block(entries: list[tuple[int, int, int, bytes]], order: str = "<", following: int = 0) -> bytes:
    """Return an EXIF block of one directory; entries are tag, type, count and four bytes."""
    directory = struct.pack(order + "H", len(entries))
    directory += b"".join(struct.pack(order + "HHI4s", *entry) for entry in entries)
    return (
        (b"II" if order == "<" else b"MM")
        + struct.pack(order + "HI", 42, 8)
        + (directory + struct.pack(order + "I", following))
    )


def orientation_entry(value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return 0x0112, 3, 1, struct.pack(order + "HH", value, 0)


def odd_exif_blocks() -> dict[str, bytes]:
    """Return EXIF blocks that say orientation 6 and something nobody can make sense of."""
    six = orientation_entry(6)
    blocks = {f"type {kind}": tiff_block([six, (0x011A, kind, 1, b"\xfe\xff\xff\xff")]) for kind in range(21)}
    blocks |= {
        "four billion values": tiff_block([six, (0x829A, 5, 0xFFFFFFFF, b"\x26\0\0\0")]),
        "values outside the block": tiff_block([six, (0x010F, 2, 500, b"\xff\xff\xff\x7f")]),
        "EXIF directory that is its own": tiff_block([six, (0x8769, 4, 1, b"\x08\0\0\0")]),
        "next directory that is its own": tiff_block([six], following=8),
        "interop and GPS nowhere": tiff_block([six, (0x8825, 4, 1, b"\xff\xff\0\0"), (0xA005, 13, 1, b"\xff\xff\0\0")]),
        "maker note": tiff_block([six, (0x927C, 7, 4000, b"\x26\0\0\0")]) + random.Random(0).randbytes(4000),
        "big-endian": tiff_block([orientation_entry(6, ">"), (0x011A, 10, 1, b"\xff\xff\xff\xff")], ">"),
        "cut in the second entry": tiff_block([six, (0x011A, 5, 1, b"\x26\0\0\0")])[:28],
        "text in place of numbers": tiff_block([six, (0x0100, 2, 4, b"wide"), (0x011A, 2, 4, b"big!")]),
    }
    return blocks


def jpeg_with(segments: bytes, image: Image.Image = ON_ITS_SIDE) -> bytes:
    """Return a JPEG with segments put before all others."""
    return b"\xff\xd8" + segments + encoded(image, quality=95)[2:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_with(chunks: bytes, image: Image.Image = ON_ITS_SIDE) -> bytes:
    """Return a PNG with chunks put behind its header."""
    data = encoded(image, "PNG")
    return data[:33] + chunks + data[33:]


def webp_with(chunks: list[tuple[bytes, bytes]], image: Image.Image = ON_ITS_SIDE) -> bytes:
    """Return a lossless WebP in the extended layout with chunks behind its image."""
    simple = encoded(image, "WEBP", lossless=True)
    width, height = image.size
    header = struct.pack("<I", 0x2C) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    pixels = simple[20 : 20 + struct.unpack_from("<I", simple, 16)[0]]
    parts = [(b"VP8X", header), (b"VP8L", pixels), *chunks]
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for k, c in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("name", odd_exif_blocks())
def test_odd_exif_is_read_for_its_orientation_alone(name: str) -> None:
    block = odd_exif_blocks()[name]
    lossless = load_image_hwc(UPRIGHT)
    np.testing.assert_array_equal(load_image_hwc(png_with(png_chunk(b"eXIf", block))), lossless)
    np.testing.assert_array_equal(load_image_hwc(webp_with([(b"EXIF", b"Exif\0\0" + block)])), lossless)
    plain = jpeg_with(segment(0xE1, b"Exif\0\0" + tiff_block([orientation_entry(6)])))
    odd = jpeg_with(segment(0xE1, b"Exif\0\0" + block))
    np.testing.assert_array_equal(load_image_hwc(odd), load_image_hwc(plain))
    assert np.abs(load_image_hwc(odd).astype(int) - lossless).mean() < 1.5


@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_odd_exif_in_heif_containers(file_format: str) -> None:
    """Here the container's own rotation counts; EXIF must neither refuse nor rotate once more."""
    if file_format == "AVIF" and not AVIF.is_supported:
        pytest.skip("Pillow has no AVIF here")
    if file_format == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed here").register_heif_opener()
    filler = tiff_block([(0x010E, 2, 200, b"\x1a\0\0\0")]) + b"A" * 200
    good = encoded(UPRIGHT, file_format, exif=filler, quality=90)
    assert filler in good
    expected = load_image_hwc(good)
    for name, block in odd_exif_blocks().items():
        if len(block) <= len(filler):
            odd = good.replace(filler, block.ljust(len(filler), b"\0"))
            np.testing.assert_array_equal(load_image_hwc(odd), expected, err_msg=name)


def test_tiff_with_odd_tags() -> None:
    """Every tag that is no pixels' may have any type; Pillow itself refuses some of these."""
    data = encoded(UPRIGHT, "TIFF")
    count = struct.unpack_from("<H", data, struct.unpack_from("<I", data, 4)[0])[0]
    at = struct.unpack_from("<I", data, 4)[0]
    entries = data[at + 2 : at + 2 + 12 * count]
    for kind in range(21):
        odd = struct.pack("<HHI4s", 0x8769, kind, 1, b"\xfe\xff\xff\xff") + struct.pack(
            "<HHI4s", 0x9C9C, kind, 0xFFFFFF, b"\xff\xff\xff\xff"
        )
        changed = data + struct.pack("<H", count + 2) + entries + odd + bytes(4)
        changed = changed[:4] + struct.pack("<I", len(data)) + changed[8:]
        np.testing.assert_array_equal(load_image_hwc(changed), load_image_hwc(UPRIGHT))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_in_all_formats(orientation: int) -> None:
    image, expected = stored(orientation), load_image_hwc(UPRIGHT)
    block = tiff_block([orientation_entry(orientation)])
    exif = b"Exif\0\0" + block
    np.testing.assert_array_equal(load_image_hwc(png_with(png_chunk(b"eXIf", block), image)), expected)
    np.testing.assert_array_equal(load_image_hwc(webp_with([(b"EXIF", block)], image)), expected)
    for compression in (None, "tiff_lzw", "tiff_deflate"):
        tiff = encoded(image, "TIFF", compression=compression, tiffinfo={0x0112: orientation})
        np.testing.assert_array_equal(load_image_hwc(tiff), expected)
    close = [encoded(image, quality=95, exif=exif)]
    if AVIF.is_supported:
        close.append(encoded(image, "AVIF", quality=95, exif=exif))
    for data in close:
        assert np.abs(load_image_hwc(data).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
def test_orientation_of_any_whole_number_type(kind: int) -> None:
    for order in "<>":
        letter = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
        assert read_orientation(tiff_block([(0x0112, kind, 1, struct.pack(order + letter, 6))], order)) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"junk" * 20,
        tiff_block([]),
        tiff_block([orientation_entry(0)]),
        tiff_block([orientation_entry(9)]),
        tiff_block([(0x0112, 2, 1, b"6\0\0\0")]),
        tiff_block([(0x0112, 3, 2, b"\x06\0\x06\0")]),
        b"II*\0\xff\xff\xff\xff",
    ],
)
def test_no_orientation(block: bytes) -> None:
    assert read_orientation(block) == 1


def test_exif_cut_anywhere() -> None:
    block = tiff_block([(0x010F, 2, 4, b"Cam\0"), orientation_entry(6)])
    for length in range(len(block) + 1):
        assert read_orientation(block[:length]) in (1, 6)
        load_image_hwc(jpeg_with(segment(0xE1, b"Exif\0\0" + block[:length])))


BOMB = zlib.compress(bytes(80 * 2**20), 9)
PNG_METADATA: dict[str, bytes | Callable[[], bytes]] = {
    "zTXt bomb": lambda: png_chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "iTXt bomb": lambda: png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    "iCCP bomb": lambda: png_chunk(b"iCCP", b"bomb\0\0" + BOMB),
    "text of 2 MiB": lambda: png_chunk(b"tEXt", b"Comment\0" + b"x" * 2**21),
    "40,000 texts": lambda: png_chunk(b"tEXt", b"k\0v" * 20) * 40_000,
    "wrong checksum of a text": png_chunk(b"tEXt", b"k\0v", 0),
    "zTXt of no stream": png_chunk(b"zTXt", b"k\0\0junk"),
    "zTXt of another method": png_chunk(b"zTXt", b"k\0\7junk"),
    "iTXt without ends": png_chunk(b"iTXt", b"k"),
    "iCCP without a name": png_chunk(b"iCCP", b""),
    "short pHYs": png_chunk(b"pHYs", b"\0"),
    "short gAMA": png_chunk(b"gAMA", b"\0"),
    "short cHRM": png_chunk(b"cHRM", b"\0\0"),
    "short cICP": png_chunk(b"cICP", b"\1"),
    "cHRM of zeros": png_chunk(b"cHRM", bytes(32)) + png_chunk(b"gAMA", bytes(4)),
    "cHRM on one line": png_chunk(b"cHRM", struct.pack(">8I", *[33_000] * 8)),
    "sRGB of no intent": png_chunk(b"sRGB", b""),
    "tIME of nothing": png_chunk(b"tIME", b""),
    "animation of no frames": png_chunk(b"acTL", bytes(8)),
    "unknown": png_chunk(b"quIk", b"x" * 100),
}


@pytest.mark.parametrize("name", PNG_METADATA)
def test_no_chunk_of_metadata_refuses_a_png(name: str) -> None:
    made = PNG_METADATA[name]
    chunks = made if isinstance(made, bytes) else made()
    np.testing.assert_array_equal(load_image_hwc(png_with(chunks, UPRIGHT)), load_image_hwc(UPRIGHT))


def test_png_cut_behind_its_image_and_without_its_end() -> None:
    data = encoded(UPRIGHT, "PNG")
    for changed in (data[:-12], data[:-12] + png_chunk(b"tEXt", b"k\0" + b"v" * 999)[:300], data + b"trailing" * 99):
        np.testing.assert_array_equal(load_image_hwc(changed), load_image_hwc(UPRIGHT))


JPEG_METADATA = {
    "Photoshop block of nothing": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x25\xff"),
    "Photoshop block of resolution": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x02\xff\xff"),
    "profile without number": segment(0xE2, b"ICC_PROFILE\0"),
    "profile of a missing part": segment(0xE2, b"ICC_PROFILE\0\x02\x03" + b"x" * 60),
    "profile in zero parts": segment(0xE2, b"ICC_PROFILE\0\0\0" + b"x" * 200),
    "profile of nothing": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(128)),
    "MPF of nothing": segment(0xE2, b"MPF\0"),
    "XMP that says rotated": segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'),
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "empty comment": segment(0xFE, b""),
    "1,000 comments": segment(0xFE, b"x" * 999) * 1000,
    "EXIF of nothing": segment(0xE1, b"Exif\0\0"),
    "fill bytes": b"\xff\xff\xff" + segment(0xFE, b"x"),
}


@pytest.mark.parametrize("name", JPEG_METADATA)
def test_no_segment_of_metadata_refuses_a_jpeg(name: str) -> None:
    found = load_image_hwc(jpeg_with(JPEG_METADATA[name], UPRIGHT))
    np.testing.assert_array_equal(found, load_image_hwc(encoded(UPRIGHT, quality=95)))


@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP"])
def test_no_chunk_of_metadata_refuses_a_webp(kind: bytes) -> None:
    for content in (b"", b"junk", b"II*\0\xff\xff\xff\xff", bytes(300)):
        found = load_image_hwc(webp_with([(kind, content)], UPRIGHT))
        np.testing.assert_array_equal(found, load_image_hwc(UPRIGHT))


def test_orientation_of_an_image_that_pillow_opened() -> None:
    opened = Image.open(io.BytesIO(png_with(png_chunk(b"eXIf", tiff_block([orientation_entry(6)])))))
    np.testing.assert_array_equal(load_image_hwc(opened), load_image_hwc(UPRIGHT))
