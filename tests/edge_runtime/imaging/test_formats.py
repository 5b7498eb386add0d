"""The table of formats: recognised by content alone, refused by name, and told apart where they share a container."""

from __future__ import annotations

import struct
import sys

import pytest

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import (
    AVIF,
    FORMATS,
    HEIC,
    IMAGE_SUFFIXES,
    identify_format,
    refusal_of,
    supported_formats,
)
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import blob_image, encoded


def box(kind: bytes, content: bytes) -> bytes:
    """Return one ISO box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def heif_head(
    brands: list[bytes], item_types: dict[int, bytes], primary: int, dimg: dict[int, int] | None = None
) -> bytes:
    """Return the first boxes of a HEIF file: brands, items with their types, and what derived items are made of."""
    items = b"".join(
        box(b"infe", struct.pack(">BBHHH4sB", 2, 0, 0, number, 0, kind, 0)) for number, kind in item_types.items()
    )
    references = b"".join(box(b"dimg", struct.pack(">HHH", item, 1, source)) for item, source in (dimg or {}).items())
    meta = (
        box(b"pitm", struct.pack(">IH", 0, primary))
        + box(b"iinf", struct.pack(">IH", 0, len(item_types)) + items)
        + box(b"iref", bytes(4) + references)
    )
    return box(b"ftyp", brands[0] + bytes(4) + b"".join(brands)) + box(b"meta", bytes(4) + meta)


@pytest.mark.parametrize(
    ("file_format", "name"),
    [("JPEG", "JPEG"), ("MPO", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP"), ("BMP", "BMP"), ("TIFF", "TIFF")],
)
def test_what_pillow_writes_is_recognised(file_format: str, name: str) -> None:
    found = identify_format(encoded(blob_image(), file_format)[:64])
    assert found is not None
    assert found.name == name
    assert refusal_of(found) is None


@pytest.mark.parametrize(
    ("head", "description"),
    [
        (encoded(blob_image().quantize(4), "GIF"), "a GIF image"),
        (b"\xff\x0a" + bytes(30), "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (encoded(blob_image(64, 64), "JPEG2000"), "a JPEG 2000 image"),
        (b"FUJIFILMCCD-RAW 0201", "a raw photograph"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a raw photograph"),
        (b"IIU\0" + bytes(30), "a raw photograph"),
        (b"IIRO\x08\0\0\0", "a raw photograph"),
        (b"FOVb" + bytes(30), "a raw photograph"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "an MP4 or QuickTime video"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\3\4" + bytes(30), "a ZIP archive"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --><svg width='1'>", "an SVG drawing"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"\0\5\x16\7" + bytes(30), "a macOS side file that holds no image (._…)"),
        (b"RIFF\0\0\0\0WAVE", "a RIFF file (sound or video)"),
        (heif_head([b"mif1"], {1: b"jpeg"}, 1), "a HEIF image with the codec 'jpeg'"),
        (b"lesion,dx\n1,mel\n", "something else"),
    ],
)
def test_others_are_refused_by_name(head: bytes, description: str) -> None:
    with pytest.raises(ImageError) as raised:
        load_image_hwc(head)
    names = ", ".join(known.name for known in supported_formats())
    assert str(raised.value) == f"<bytes>: expected one of {names}, found {description}"


@pytest.mark.parametrize("brand", [b"mif1", b"msf1", b"miaf", b"heic", b"avif", b"XXXX"])
@pytest.mark.parametrize(("codec", "name"), [(b"hvc1", "HEIC"), (b"av01", "AVIF")])
def test_the_codec_decides_and_not_the_brand(brand: bytes, codec: bytes, name: str) -> None:
    for head in (
        heif_head([brand, b"mif1"], {1: codec, 2: b"Exif"}, 1),
        heif_head([brand, b"mif1"], {1: codec, 2: codec, 3: b"grid", 4: b"mime"}, 3, {3: 1}),
        heif_head([brand], {7: b"grid", 1: codec, 3: b"iden"}, 3, {7: 1, 3: 7}),
    ):
        found = identify_format(head)
        assert found is not None
        assert found.name == name


def test_circular_references_end() -> None:
    head = heif_head([b"avif"], {1: b"grid", 2: b"grid"}, 1, {1: 2, 2: 1})
    assert identify_format(head) == AVIF


def test_brands_decide_where_the_items_are_out_of_sight() -> None:
    for brands, expected in (
        ([b"mif1", b"miaf", b"avif"], AVIF),
        ([b"msf1", b"hevc"], HEIC),
        ([b"mif1"], HEIC),
        ([b"avis", b"msf1", b"iso8"], AVIF),
    ):
        assert identify_format(box(b"ftyp", brands[0] + bytes(4) + b"".join(brands))) == expected


def test_avif_with_a_generic_brand_is_classified_as_avif() -> None:
    if not AVIF.is_supported:
        pytest.skip("Pillow has no AVIF here")
    data = encoded(blob_image(), "AVIF", quality=90)
    generic = data.replace(b"ftypavif", b"ftypmif1", 1)
    assert generic != data
    assert (load_image_hwc(generic) == load_image_hwc(data)).all()


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL._avif", None)
    assert "AVIF" not in [known.name for known in supported_formats()]
    with pytest.raises(ImageError, match=r"is an AVIF image, which needs Pillow 11\.3 or newer with AVIF support"):
        load_image_hwc(heif_head([b"mif1"], {1: b"av01"}, 1))


def test_the_table_is_unambiguous() -> None:
    suffixes = [suffix for known in FORMATS for suffix in known.suffixes]
    media_types = [media_type for known in FORMATS for media_type in known.media_types]
    assert len(set(suffixes)) == len(suffixes)
    assert len(set(media_types)) == len(media_types)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    assert {".jpg", ".jfif", ".jpe", ".mpo", ".heic", ".avif"} <= set(IMAGE_SUFFIXES)
    assert {"image/jpg", "image/jpeg", "image/heic", "image/avif"} <= set(media_types)
