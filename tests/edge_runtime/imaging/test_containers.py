"""The photograph is not always the first image of a file: raw photographs, previews, masks, depth maps."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import blob_image, encoded

FULL, PREVIEW = blob_image(320, 240, seed=1), blob_image(160, 120, seed=2)
REDUCED, PAGE, MASK = 1, 2, 4
Entries = dict[int, tuple[int, tuple[int, ...]]]


def image_entries(image: Image.Image, **changed: tuple[int, tuple[int, ...]]) -> Entries:
    """Return the tags of an uncompressed RGB image; its data's place is filled in by :func:`tiff_of`."""
    width, height = image.size
    tags: Entries = {
        256: (4, (width,)), 257: (4, (height,)), 258: (3, (8,) * 3), 259: (3, (1,)), 262: (3, (2,)), 277: (3, (3,)),
        278: (4, (height,)), 279: (4, (width * height * 3,)),
    }  # fmt: skip
    return tags | {int(name[1:]): value for name, value in changed.items()}


class Writer:
    """Writes directories of a TIFF or BigTIFF, of either byte order."""

    def __init__(self, order: str = "<", big: bool = False) -> None:
        self.order, self.big = order, big
        self.data = bytearray((b"II" if order == "<" else b"MM") + self.pack("H", 43 if big else 42))
        self.data += self.pack("HHQ", 8, 0, 0) if big else self.pack("I", 0)
        self.link = len(self.data) - (8 if big else 4)

    def pack(self, letters: str, *values: int) -> bytes:
        return struct.pack(self.order + letters, *values)

    def append(self, content: bytes) -> int:
        self.data += bytes(len(self.data) % 2)
        at = len(self.data)
        self.data += content
        return at

    def directory(self, image: Image.Image, tags: Entries, *, linked: bool = True) -> int:
        """Write an image and its directory; a linked one follows the last, another one is a sub-directory."""
        tags = {**tags, 273: (4, (self.append(image.tobytes()),))}
        offset, inline, count = ("Q", 8, "Q") if self.big else ("I", 4, "H")
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            content = self.pack(f"{len(values)}{ {1: 'B', 3: 'H', 4: 'I', 13: 'I', 7: 'B'}[kind] }", *values)
            value = content.ljust(inline, b"\0") if len(content) <= inline else self.pack(offset, self.append(content))
            entries += self.pack(f"HH{offset}", tag, kind, len(values)) + value
        at = self.append(self.pack(count, len(tags)) + entries + self.pack(offset, 0))
        if linked:
            struct.pack_into(self.order + offset, self.data, self.link, at)
            self.link = len(self.data) - struct.calcsize(self.order + offset)
        return at


def kind(value: int) -> Entries:
    return {254: (4, (value,))}


def with_sub_directory(order: str = "<", outer: Entries | None = None, inner: Entries | None = None) -> bytes:
    """Return a TIFF whose first image is a preview with the full image in a sub-directory."""
    writer = Writer(order)
    at = writer.directory(FULL, image_entries(FULL) | kind(0) | (inner or {}), linked=False)
    writer.directory(PREVIEW, image_entries(PREVIEW) | kind(REDUCED) | {330: (4, (at,))} | (outer or {}))
    return bytes(writer.data)


RAW = {
    "DNG": with_sub_directory(outer={50706: (1, (1, 4, 0, 0))}),
    "DNG, big-endian": with_sub_directory(">", outer={50706: (1, (1, 4, 0, 0))}),
    "DNG of linear colours": with_sub_directory(inner={262: (3, (34892,))}),
    "NEF: filter array in a sub-directory": with_sub_directory(">", inner={262: (3, (32803,)), 259: (3, (34713,))}),
    "ARW: Sony's compression": with_sub_directory(inner={259: (3, (32767,))}),
    "ARW: filter pattern": with_sub_directory(inner={33422: (1, (0, 1, 1, 2))}),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + with_sub_directory()[8:],
    "ORF": b"IIRO" + with_sub_directory()[4:],
    "RW2": b"IIU\0" + with_sub_directory()[4:],
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99),
    "RAF": b"FUJIFILMCCD-RAW 0201FF" + bytes(99),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_photographs_are_refused_by_name(name: str) -> None:
    data = RAW[name]
    if name == "CR2":
        writer = Writer()
        writer.append(b"CR\2\0\0\0\0\0")
        writer.directory(PREVIEW, image_entries(PREVIEW))
        data = bytes(writer.data)
    with pytest.raises(ImageError, match="found a raw photograph"):
        load_image_hwc(data)


def test_pef_is_raw_in_its_first_directory() -> None:
    writer = Writer(">")
    writer.directory(FULL, image_entries(FULL, t262=(3, (32803,)), t259=(3, (65535,))))
    with pytest.raises(ImageError, match="found a raw photograph"):
        load_image_hwc(bytes(writer.data))


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_the_full_image_is_found_behind_previews_and_masks(order: str, big: bool) -> None:
    writer = Writer(order, big)
    writer.directory(PREVIEW, image_entries(PREVIEW) | kind(REDUCED))
    writer.directory(PREVIEW, image_entries(PREVIEW) | kind(MASK))
    writer.directory(PREVIEW, image_entries(PREVIEW) | {255: (3, (2,))})
    writer.directory(FULL, image_entries(FULL) | kind(0))
    writer.directory(PREVIEW, image_entries(PREVIEW) | kind(0))
    np.testing.assert_array_equal(load_image_hwc(bytes(writer.data)), load_image_hwc(FULL))


def test_big_endian_bigtiff_is_refused_by_name() -> None:
    writer = Writer(">", True)
    writer.directory(FULL, image_entries(FULL))
    with pytest.raises(ImageError, match="expected a BigTIFF in little-endian byte order, found big-endian"):
        load_image_hwc(bytes(writer.data))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_full_image_is_found_in_a_sub_directory(order: str) -> None:
    np.testing.assert_array_equal(load_image_hwc(with_sub_directory(order)), load_image_hwc(FULL))


def test_the_first_page_counts_and_a_pyramid_gives_its_base() -> None:
    pages, pyramid = Writer(), Writer()
    pages.directory(FULL, image_entries(FULL) | kind(PAGE))
    pages.directory(PREVIEW, image_entries(PREVIEW) | kind(PAGE))
    at = pyramid.directory(PREVIEW, image_entries(PREVIEW) | kind(REDUCED), linked=False)
    pyramid.directory(FULL, image_entries(FULL) | {330: (13, (at,))})
    for writer in (pages, pyramid):
        np.testing.assert_array_equal(load_image_hwc(bytes(writer.data)), load_image_hwc(FULL))


def test_a_preview_that_is_all_there_is_counts() -> None:
    writer = Writer()
    writer.directory(PREVIEW, image_entries(PREVIEW) | kind(REDUCED))
    np.testing.assert_array_equal(load_image_hwc(bytes(writer.data)), load_image_hwc(PREVIEW))


def test_directories_that_go_in_circles_end() -> None:
    writer = Writer()
    at = writer.directory(PREVIEW, image_entries(PREVIEW) | kind(REDUCED))
    struct.pack_into("<I", writer.data, writer.link, at)
    writer.directory(FULL, image_entries(FULL) | {330: (4, (at,))}, linked=False)
    np.testing.assert_array_equal(load_image_hwc(bytes(writer.data)), load_image_hwc(PREVIEW))


def test_a_hostile_directory_is_refused_quickly() -> None:
    entries = struct.pack("<HHII", 330, 4, 60_000, 8) * 65_535
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entries + struct.pack("<I", 10)
    with pytest.raises(ImageError, match="damaged image"):
        load_image_hwc(data)


def test_the_thumbnail_in_exif_is_not_taken() -> None:
    thumbnail = encoded(PREVIEW)
    block = b"II*\0\x08\0\0\0\0\0" + struct.pack("<I", 14)
    block += (
        struct.pack("<H", 2) + struct.pack("<HHII", 513, 4, 1, 48) + struct.pack("<HHII", 514, 4, 1, len(thumbnail))
    )
    exif = b"Exif\0\0" + block + bytes(48 - len(block)) + thumbnail
    data = encoded(FULL, quality=95)
    segment = struct.pack(">BBH", 0xFF, 0xE1, 2 + len(exif)) + exif
    np.testing.assert_array_equal(load_image_hwc(data[:2] + segment + data[2:]), load_image_hwc(data))


def test_jpeg_with_a_gain_map_or_a_second_image_behind_it() -> None:
    data = encoded(FULL, quality=95)
    both = encoded(FULL, "MPO", save_all=True, append_images=[PREVIEW.resize(FULL.size)], quality=95)
    for file in (data + encoded(PREVIEW.convert("L")), both):
        np.testing.assert_array_equal(load_image_hwc(file), load_image_hwc(data))


def test_heic_gives_its_primary_image() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed here")
    pillow_heif.register_heif_opener()
    small = PREVIEW.resize(FULL.size)
    data = encoded(small, "HEIF", save_all=True, append_images=[FULL], primary_index=1, quality=90)
    found = load_image_hwc(data).astype(int)
    assert np.abs(found - load_image_hwc(FULL)).mean() < 4
    assert np.abs(found - load_image_hwc(small)).mean() > 20
