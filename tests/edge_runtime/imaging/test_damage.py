"""Images of which a part is missing or overwritten are refused, and whole ones never are."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import AVIF
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import REAL_DATA, blob_image, encoded

ENCODINGS: dict[str, dict[str, object]] = {
    "baseline": {"quality": 90},
    "low quality": {"quality": 30},
    "full quality without subsampling": {"quality": 100, "subsampling": 0},
    "optimised": {"optimize": True},
    "restart markers": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "greyscale": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}


def photograph() -> Image.Image:
    """Return an image with enough detail that its data are many kilobytes."""
    pixels = np.asarray(blob_image(640, 480), dtype=np.int16)
    noise = np.random.default_rng(0).integers(-12, 13, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


PHOTOGRAPH = photograph()


def jpeg(name: str) -> tuple[bytes, int]:
    """Return a JPEG of this encoding and where its image data begin."""
    options = dict(ENCODINGS[name])
    data = encoded(PHOTOGRAPH.convert(str(options.pop("mode", "RGB"))), "JPEG", **options)
    scan = data.index(b"\xff\xda")
    return data, scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]


@pytest.mark.parametrize("name", ENCODINGS)
def test_whole_jpegs_are_decoded(name: str) -> None:
    data, _ = jpeg(name)
    expected = load_image_hwc(data)
    for trailing in (b"\0", b"\0" * 5000, data, b"\xff\xd8 video \xff\xda", b"\xff\xd9"):
        np.testing.assert_array_equal(load_image_hwc(data + trailing), expected)
    with_fill = data[:-2] + b"\xff\xff\xff" + data[-2:]
    np.testing.assert_array_equal(load_image_hwc(with_fill), expected)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "progressive"])
@pytest.mark.parametrize("part", [0.01, 0.4, 0.9, 0.99])
def test_jpeg_that_ends_early_with_an_end_marker(name: str, part: float) -> None:
    data, start = jpeg(name)
    cut = data[: start + int(part * (len(data) - start))] + b"\xff\xd9"
    with pytest.raises(ImageError) as raised:
        load_image_hwc(cut)
    found = re.search(r"damaged image: the data end after (\d+) % of the rows", str(raised.value))
    if name != "restart markers":
        assert found is not None
        assert abs(int(found[1]) - 100 * part) < 12


@pytest.mark.parametrize("part", [0.01, 0.2, 0.4])
def test_progressive_jpeg_that_ends_early(part: float) -> None:
    data, start = jpeg("progressive")
    cut = data[: start + int(part * (len(data) - start))] + b"\xff\xd9"
    with pytest.raises(ImageError, match="the data end before the image is complete: scans are missing"):
        load_image_hwc(cut)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("with_end", [True, False])
def test_jpeg_with_zeros_from_the_middle_on(name: str, with_end: bool) -> None:
    data, start = jpeg(name)
    middle = (start + len(data)) // 2
    end = b"\xff\xd9" if with_end else b""
    with pytest.raises(ImageError, match="damaged image: "):
        load_image_hwc(data[:middle] + bytes(len(data) - middle - len(end)) + end)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "progressive"])
@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xf6", b"\xaa"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_jpeg_that_lost_a_cluster(name: str, fill: bytes, part: float) -> None:
    data, start = jpeg(name)
    at = start + int(part * (len(data) - start - 4096))
    overwritten = data[:at] + 4096 * fill + data[at + 4096 :]
    with pytest.raises(ImageError, match="damaged image: "):
        load_image_hwc(overwritten)
    with pytest.raises(ImageError, match="damaged image: "):
        load_image_hwc(data[:at] + data[at + 4096 :])


def test_restart_markers_that_are_missing_or_out_of_order() -> None:
    data, start = jpeg("restart markers")
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data[start:])]
    first, second = start + markers[3], start + markers[4]
    with pytest.raises(ImageError, match="expected 29 restart markers one after the other, found 28"):
        load_image_hwc(data[:first] + data[second:])
    swapped = bytearray(data)
    swapped[first + 1], swapped[second + 1] = data[second + 1], data[first + 1]
    with pytest.raises(ImageError, match="restart markers"):
        load_image_hwc(bytes(swapped))


def test_other_bytes_inside_the_image_data() -> None:
    data, start = jpeg("baseline")
    middle = (start + len(data)) // 2
    for inserted in (b"\xff\xc0\0\x0bJunk", b"\xff\xe1\0\4ab", b"\xff\xd3"):
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(data[:middle] + inserted + data[middle:])


def test_jpeg_without_its_end_marker_is_whole_when_all_rows_are_there() -> None:
    data, _ = jpeg("baseline")
    np.testing.assert_array_equal(load_image_hwc(data[:-2]), load_image_hwc(data))


def test_damage_is_found_through_the_scaled_decoder() -> None:
    data = encoded(PHOTOGRAPH.resize((2400, 1900)), quality=85)
    cut = data[: len(data) // 2] + b"\xff\xd9"
    with pytest.raises(ImageError, match=r"the data end after [45]\d % of the rows"):
        load_image_hwc(cut)


@pytest.mark.parametrize("colour", ["black", "white", (120, 80, 60)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_flat_images_are_whole_although_their_data_are_mostly_zeros(colour: object, mode: str) -> None:
    flat = Image.new("RGB", (800, 700), colour)  # type: ignore[arg-type]
    framed = flat.copy()
    framed.paste(PHOTOGRAPH.crop((0, 0, 200, 150)), (500, 300))
    for image in (flat.convert(mode), framed.convert(mode)):
        for options in ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 1, "optimize": True}):
            load_image_hwc(encoded(image, "JPEG", **options))
        load_image_hwc(encoded(image, "WEBP"))
        load_image_hwc(encoded(image, "WEBP", lossless=True))
        load_image_hwc(encoded(image, "TIFF", compression="tiff_lzw"))
        if AVIF.is_supported:
            load_image_hwc(encoded(image, "AVIF", speed=10))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_rows(rows: int, height: int, interlaced: bool = False) -> bytes:
    """Return a PNG whose stream ends properly after so many rows (of the last pass)."""
    width = 64
    values = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    if interlaced:  # Adam7
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [values[y::dy, x::dx] for y, x, dy, dx in passes]
        parts[-1] = parts[-1][:rows]
    else:
        parts = [values[:rows]]
    raw = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlaced))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(("height", "interlaced"), [(60, False), (60, True), (61, True)])
def test_png_whose_stream_ends_early_but_properly(height: int, interlaced: bool) -> None:
    whole = height // 2 if interlaced else height
    assert load_image_hwc(png_of_rows(whole, height, interlaced)).shape == (224, 224, 3)
    for rows in (0, 1, whole // 2, whole - 1):
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(png_of_rows(rows, height, interlaced))


def test_png_cut_or_overwritten_in_its_image_data() -> None:
    data = encoded(PHOTOGRAPH, "PNG")
    middle = len(data) // 2
    with pytest.raises(ImageError, match="the data end inside a chunk IDAT"):
        load_image_hwc(data[:middle])
    with pytest.raises(ImageError, match="the checksum of a chunk IDAT does not fit"):
        load_image_hwc(data[:middle] + bytes(512) + data[middle + 512 :])
    with pytest.raises(ImageError, match="the checksum of a chunk IDAT does not fit"):
        load_image_hwc(data[: middle - 1] + bytes([data[middle - 1] ^ 1]) + data[middle:])


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_tiff_cut_or_with_zeros(compression: str | None) -> None:
    data = encoded(PHOTOGRAPH, "TIFF", compression=compression)
    load_image_hwc(data)
    directory = struct.unpack_from("<I", data, 4)[0]
    middle = len(data) // 2
    if directory > middle:  # the directory stays readable: put it first
        moved = with_directory_first(data)
        np.testing.assert_array_equal(load_image_hwc(moved), load_image_hwc(data))
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(moved[: len(moved) // 2])
    else:
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(data[:middle])
    if compression in ("tiff_lzw", "jpeg"):
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(data[:middle] + bytes(2048) + data[middle + 2048 :])


def with_directory_first(data: bytes) -> bytes:
    """Return a little-endian TIFF with everything moved behind a copy of its directory."""
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    shift = 2 + 12 * count + 4
    entries = []
    strips = b""
    for index in range(count):
        tag, kind, number, value = struct.unpack_from("<HHII", data, at + 2 + 12 * index)
        size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind] * number
        if tag == 273 and number > 1:
            offsets = struct.unpack_from(f"<{number}I", data, value)
            strips = struct.pack(f"<{number}I", *(offset + shift for offset in offsets))
            value = shift + len(data)
        elif tag == 273 or size > 4:
            value += shift
        entries.append(struct.pack("<HHII", tag, kind, number, value))
    head = data[:4] + struct.pack("<I", 8) + struct.pack("<H", count) + b"".join(entries) + bytes(4)
    return head + data[8:] + strips


def test_tiff_with_too_few_or_short_strips() -> None:
    data = bytearray(encoded(PHOTOGRAPH, "TIFF", compression="tiff_lzw"))
    at = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, at)[0]):
        place = at + 2 + 12 * index
        if struct.unpack_from("<H", data, place)[0] in (273, 279):
            struct.pack_into("<I", data, place + 4, 3)
    with pytest.raises(ImageError, match=r"expected \d+ strips, found 3"):
        load_image_hwc(bytes(data))
    plain = bytearray(encoded(PHOTOGRAPH, "TIFF"))
    at = struct.unpack_from("<I", plain, 4)[0]
    for index in range(struct.unpack_from("<H", plain, at)[0]):
        place = at + 2 + 12 * index
        tag, _, count, value = struct.unpack_from("<HHII", plain, place)
        if tag == 279 and count > 1:
            struct.pack_into("<I", plain, value + 4, 100)
            with pytest.raises(ImageError, match=r"the data of strip 2 of \d+ end early"):
                load_image_hwc(bytes(plain))


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_cut_or_with_zeros(lossless: bool) -> None:
    data = encoded(PHOTOGRAPH, "WEBP", lossless=lossless, quality=95)
    middle = len(data) // 2
    shorter = data[:middle]
    for cut in (shorter, shorter[:4] + struct.pack("<I", middle - 8) + shorter[8:]):
        with pytest.raises(ImageError, match=r"the data end after 4\d % of the image"):
            load_image_hwc(cut)
    with pytest.raises(ImageError, match="bytes in a row of the image data are zero"):
        load_image_hwc(data[:middle] + bytes(2048) + data[middle + 2048 :])


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_heif_containers_cut_or_with_zeros(file_format: str) -> None:
    if file_format == "AVIF" and not AVIF.is_supported:
        pytest.skip("Pillow has no AVIF here")
    if file_format == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed here").register_heif_opener()
    data = encoded(PHOTOGRAPH, file_format, quality=90)
    load_image_hwc(data)
    middle = len(data) // 2
    with pytest.raises(ImageError, match="damaged image: the data end inside the image"):
        load_image_hwc(data[:middle])
    with pytest.raises(ImageError, match="bytes in a row of the image data are zero"):
        load_image_hwc(data[:middle] + bytes(2048) + data[middle + 2048 :])


def test_bmp_cut() -> None:
    data = encoded(PHOTOGRAPH, "BMP")
    for part in (0.2, 0.99):
        with pytest.raises(ImageError, match="damaged image: "):
            load_image_hwc(data[: int(part * len(data))])


@pytest.mark.real_data
def test_no_real_image_is_refused() -> None:
    paths = sorted(Path(REAL_DATA).glob("*/*.jpg"))[::20]
    assert len(paths) > 100
    for path in paths:
        load_image_hwc(path)
