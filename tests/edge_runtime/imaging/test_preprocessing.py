"""The golden array, every kind of file, and every way a file can be bad."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.imaging.preprocessing import MAX_PIXELS, decode_image, load_image_hwc
from tests.conftest import REPOSITORY, blob_image, encoded

FIXTURES = REPOSITORY / "tests" / "fixtures"


def test_golden_array() -> None:
    """The committed JPEG gives the committed pixels, on every platform and Pillow version."""
    golden = np.asarray(Image.open(FIXTURES / "golden_224.png"))
    found = load_image_hwc(FIXTURES / "golden.jpg")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, golden)


def triangle_weights(source: int, target: int) -> np.ndarray:
    """The antialiased triangle filter from its definition: a (target, source) matrix of weights."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None, :] + 0.5 - centres[:, None]) / support
    weights = np.clip(1.0 - distance, 0.0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(600, 450), (100, 80), (224, 500), (1000, 224)])
def test_resize_is_the_triangle_filter(size: tuple[int, int]) -> None:
    image = blob_image(*size, seed=3)
    pixels = np.asarray(image, dtype=np.float64)
    rows = np.tensordot(triangle_weights(size[1], 224), pixels, axes=1)
    expected = np.tensordot(triangle_weights(size[0], 224), rows, axes=(1, 1)).swapaxes(0, 1)
    assert np.abs(load_image_hwc(image) - expected).max() <= 1.01  # Pillow rounds after each of two passes


def test_an_image_of_the_right_size_passes_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(load_image_hwc(pixels), pixels)
    np.testing.assert_array_equal(load_image_hwc(encoded(Image.fromarray(pixels), "PNG")), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = blob_image(320, 240)
    transpose = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(transpose[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(load_image_hwc(encoded(stored, "PNG", exif=exif)), load_image_hwc(upright))


def test_exif_orientation_of_a_jpeg_and_through_the_scaled_decoder() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for size in ((320, 240), (2000, 1800)):
        upright = blob_image(*size)
        stored = upright.transpose(Image.Transpose.ROTATE_90)
        found = load_image_hwc(encoded(stored, exif=exif, quality=95)).astype(int)
        assert np.abs(found - load_image_hwc(upright)).mean() < 1.5


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_same_pixels(file_format: str) -> None:
    image = blob_image()
    options = {"lossless": True} if file_format == "WEBP" else {}
    np.testing.assert_array_equal(load_image_hwc(encoded(image, file_format, **options)), load_image_hwc(image))


def test_greyscale_palette_and_16_bit_images() -> None:
    grey = blob_image().convert("L")
    expected = load_image_hwc(grey.convert("RGB"))
    np.testing.assert_array_equal(load_image_hwc(encoded(grey, "PNG")), expected)
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    np.testing.assert_array_equal(load_image_hwc(encoded(deep, "PNG")), expected)
    palette = blob_image().quantize(64)
    np.testing.assert_array_equal(load_image_hwc(encoded(palette, "PNG")), load_image_hwc(palette.convert("RGB")))


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (300, 300), (200, 0, 0, 0))
    half.paste((10, 20, 30, 255), (0, 0, 300, 150))
    found = load_image_hwc(encoded(half, "PNG"))
    assert tuple(found[10, 10]) == (10, 20, 30)
    assert tuple(found[200, 10]) == (255, 255, 255)


def test_palette_with_transparency_and_grey_with_alpha() -> None:
    palette = Image.new("P", (300, 300), 1)
    palette.putpalette([255, 0, 0, 0, 0, 200])
    palette.paste(0, (0, 0, 300, 150))
    found = load_image_hwc(encoded(palette, "PNG", transparency=1))
    assert tuple(found[10, 10]) == (255, 0, 0)
    assert tuple(found[200, 10]) == (255, 255, 255)
    grey = Image.new("LA", (224, 224), (0, 128))
    assert tuple(load_image_hwc(encoded(grey, "PNG"))[0, 0]) == (127, 127, 127)


def test_16_bit_tiff_and_colour_png() -> None:
    grey = blob_image().convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    np.testing.assert_array_equal(load_image_hwc(encoded(deep, "TIFF")), load_image_hwc(grey.convert("RGB")))
    np.testing.assert_array_equal(load_image_hwc(deep_colour_png(blob_image())), load_image_hwc(blob_image()))


def deep_colour_png(image: Image.Image) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow reads but cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    values = np.asarray(image, dtype=np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_images_without_a_defined_brightness_are_refused() -> None:
    with pytest.raises(ImageError, match="expected 8 or 16 bits a channel, found floating-point numbers"):
        load_image_hwc(encoded(Image.new("F", (300, 300), 0.5), "TIFF"))
    with pytest.raises(ImageError, match="expected 8 or 16 bits a channel, found 32"):
        load_image_hwc(encoded(Image.new("I", (300, 300), 1 << 20), "TIFF"))


def test_cmyk_and_progressive_jpeg() -> None:
    cmyk = blob_image().convert("CMYK")
    data = encoded(cmyk, "JPEG", quality=98)
    difference = np.abs(load_image_hwc(data).astype(int) - load_image_hwc(cmyk.convert("RGB")).astype(int))
    assert difference.mean() < 3
    progressive = encoded(blob_image(), "JPEG", progressive=True, quality=90)
    np.testing.assert_array_equal(
        load_image_hwc(progressive), load_image_hwc(encoded(blob_image(), "JPEG", quality=90))
    )


def test_animation_gives_its_first_frame() -> None:
    frames = [blob_image(seed=1), blob_image(seed=2)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(load_image_hwc(data), load_image_hwc(frames[0]))


def test_first_page_of_a_tiff_and_first_image_of_an_mpo() -> None:
    frames = [blob_image(seed=1), blob_image(seed=2)]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load_image_hwc(data), load_image_hwc(frames[0]))
    phone = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=90)
    np.testing.assert_array_equal(load_image_hwc(phone), load_image_hwc(encoded(frames[0], quality=90)))


@pytest.mark.slow
def test_heic() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed here")
    pillow_heif.register_heif_opener()
    image = blob_image()
    data = encoded(image, "HEIF", quality=95)
    difference = np.abs(load_image_hwc(data).astype(int) - load_image_hwc(image).astype(int))
    assert difference.mean() < 3
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encoded(image.transpose(Image.Transpose.ROTATE_90), "HEIF", quality=95, exif=exif.tobytes())
    assert np.abs(load_image_hwc(stored).astype(int) - load_image_hwc(image).astype(int)).mean() < 3


def test_heic_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="is a HEIC image, which needs the package pillow-heif"):
        load_image_hwc(b"\0\0\0\x18ftypheic" + bytes(100))


def test_only_the_parser_that_is_needed_is_imported() -> None:
    code = (
        "import sys; from edge_runtime.imaging.preprocessing import load_image_hwc;"
        f"load_image_hwc({str(FIXTURES / 'golden.jpg')!r});"
        "print([name for name in sys.modules if name.endswith('ImagePlugin')])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert finished.stdout.strip() == "['PIL.JpegImagePlugin']"


def test_large_jpeg_is_scaled_in_the_decoder_without_visible_change() -> None:
    data = encoded(blob_image(4000, 3000), "JPEG", quality=92)
    full = load_image_hwc(Image.open(io.BytesIO(data)))
    difference = np.abs(load_image_hwc(data).astype(int) - full.astype(int))
    assert difference.mean() < 0.5
    assert difference.max() <= 3
    assert decode_image(data, 224).size == (500, 375)


def test_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.imaging.decoding.MAX_FILE_BYTES", 2**20)
    path = tmp_path / "long.jpg"
    path.write_bytes(bytes(2**20 + 1))
    with pytest.raises(ImageError, match=r"long\.jpg: expected at most 1 MiB, found more"):
        load_image_hwc(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: expected an image, found an empty file"):
        load_image_hwc(path)


def test_missing_file() -> None:
    with pytest.raises(ImageError, match=r"nowhere\.jpg: cannot be read: No such file or directory"):
        load_image_hwc("nowhere.jpg")


def test_not_an_image() -> None:
    with pytest.raises(
        ImageError, match=r"<bytes>: expected one of JPEG, PNG, WebP, BMP, TIFF.*, found an SVG drawing"
    ):
        load_image_hwc(b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def test_a_format_that_is_not_enabled() -> None:
    with pytest.raises(ImageError, match=r"expected one of JPEG.*, found a GIF image"):
        load_image_hwc(encoded(blob_image().quantize(16), "GIF"))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_truncated_file(file_format: str, tmp_path: Path) -> None:
    data = encoded(blob_image(), file_format)
    path = tmp_path / "half.image"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError) as raised:
        load_image_hwc(path)
    assert re.fullmatch(rf"{re.escape(str(path))}: damaged image: [^\n]+", str(raised.value))


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_pixel_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    data = encoded(Image.new("1", (side, side)), "PNG")
    assert len(data) < 100_000
    with pytest.raises(ImageError, match=f"expected at most {MAX_PIXELS / 1e6:.0f} megapixels, found {side}×{side}"):
        load_image_hwc(data)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), r"float32 of shape \(4, 4, 3\)"),
        (np.zeros((4, 4), dtype=np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"uint8 of shape \(0, 4, 3\)"),
    ],
)
def test_wrong_array(array: np.ndarray, found: str) -> None:
    with pytest.raises(ImageError, match=rf"<array>: expected uint8 of shape \(H, W, 3\), found {found}"):
        load_image_hwc(array)
