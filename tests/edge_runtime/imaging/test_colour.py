"""Colour profiles, colour chunks of PNG and transparency: the same colours give the same pixels, however stored."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from edge_runtime.imaging.colour import convert_to_rgb
from edge_runtime.imaging.formats import AVIF
from edge_runtime.imaging.icc import PRIMARIES, SRGB_CURVE, SRGB_PRIMARIES, is_srgb, make_profile
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import REPOSITORY, blob_image, encoded

IMAGE = blob_image(300, 260, seed=4)
ADOBE_RGB = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(name: str) -> bytes:
    made = {
        "Display P3": make_profile(PRIMARIES[12], SRGB_CURVE),
        "Adobe RGB": make_profile(ADOBE_RGB, (563 / 256,)),
        "linear": make_profile(SRGB_PRIMARIES, (1.0,)),
        "gamma 1.8": make_profile(SRGB_PRIMARIES, (1.8,)),
    }[name]
    assert made is not None
    return made


def expressed_in(image: Image.Image, wanted: bytes) -> Image.Image:
    """Return sRGB colours expressed in another space, by lcms alone."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(wanted)), "RGB", "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    converted.info.clear()  # the profile, which some writers would take from there
    return converted


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes, image: Image.Image) -> bytes:
    data = encoded(image, "PNG")
    return data[:33] + chunks + data[33:]


def differences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found.astype(int) - expected.astype(int))


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF", "HEIF"])
def test_profiles_are_converted_in_every_format(name: str, file_format: str) -> None:
    if file_format == "AVIF" and not AVIF.is_supported:
        pytest.skip("Pillow has no AVIF here")
    if file_format == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed here").register_heif_opener()
    options: dict[str, object] = {"lossless": True} if file_format == "WEBP" else {"quality": 98}
    image = expressed_in(IMAGE, profile(name))
    plain = load_image_hwc(encoded(image, file_format, **options))
    found = load_image_hwc(encoded(image, file_format, icc_profile=profile(name), **options))
    expected = load_image_hwc(IMAGE)
    lossless = file_format in ("PNG", "TIFF", "WEBP")
    assert differences(found, expected).max() <= (12 if lossless else 40)
    assert differences(found, expected).mean() < (0.6 if lossless else 3)
    assert differences(plain, expected).mean() > 3  # the profile made the difference


def test_a_profile_in_many_segments_of_a_jpeg() -> None:
    padded = profile("Adobe RGB")
    padded = struct.pack(">I", 150_000) + padded[4:] + bytes(150_000 - len(padded))
    data = encoded(expressed_in(IMAGE, padded), quality=98, subsampling=0, icc_profile=padded)
    assert data.count(b"ICC_PROFILE\0") == 3
    assert differences(load_image_hwc(data), load_image_hwc(IMAGE)).mean() < 1.5


def test_grey_profiles_and_profiles_for_other_channels() -> None:
    grey = np.arange(256, dtype=np.uint8)[None, :].repeat(256, axis=0)
    body = struct.pack(">4sIII", b"curv", 0, 1, 256)[:12] + struct.pack(">H", 256)  # gamma 1.0
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i", 0, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    tags = struct.pack(">I4sII", 2, b"kTRC", 156, 14) + struct.pack(">4sII", b"wtpt", 172, 20)
    linear = (
        header.ljust(128, b"\0") + tags + body + bytes(2) + b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    )
    linear = struct.pack(">I", len(linear)) + linear[4:]
    found = np.asarray(convert_to_rgb(Image.fromarray(grey), linear))[0, :, 1].astype(int)
    light = np.arange(256) / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(found - srgb).max() <= 2
    unchanged = convert_to_rgb(Image.fromarray(grey), profile("Display P3"))  # of other channels than the image
    np.testing.assert_array_equal(np.asarray(unchanged)[..., 0], grey)


def test_sixteen_bit_grey_and_palettes_follow_their_profile() -> None:
    palette = expressed_in(IMAGE, profile("Adobe RGB")).quantize(200)
    expected = load_image_hwc(encoded(palette.convert("RGB"), "PNG", icc_profile=profile("Adobe RGB")))
    np.testing.assert_array_equal(load_image_hwc(encoded(palette, "PNG", icc_profile=profile("Adobe RGB"))), expected)


@pytest.mark.parametrize(
    "wanted",
    [
        SRGB_PROFILE,
        make_profile(SRGB_PRIMARIES, SRGB_CURVE),
        SRGB_PROFILE[:60],
        SRGB_PROFILE[:200],
        b"\0" * 4000,
        b"junk",
        b"\0" * 16 + b"RGB " + b"\xff" * 3000,
        SRGB_PROFILE[:128] + b"\xff\xff\xff\xff" + SRGB_PROFILE[132:],
    ],
)
def test_srgb_and_broken_profiles_change_nothing(wanted: bytes) -> None:
    for file_format in ("PNG", "TIFF"):
        found = load_image_hwc(encoded(IMAGE, file_format, icc_profile=wanted))
        np.testing.assert_array_equal(found, load_image_hwc(IMAGE))
    np.testing.assert_array_equal(
        load_image_hwc(encoded(IMAGE, quality=90, icc_profile=wanted)), load_image_hwc(encoded(IMAGE, quality=90))
    )


def test_every_cut_of_a_profile_is_harmless() -> None:
    whole = profile("Display P3")
    for length in range(0, len(whole), 7):
        assert convert_to_rgb(Image.new("RGB", (2, 2), "red"), whole[:length]).size == (2, 2)


def test_what_counts_as_srgb() -> None:
    assert is_srgb(SRGB_PROFILE)
    assert is_srgb(make_profile(SRGB_PRIMARIES, SRGB_CURVE) or b"")
    table = np.arange(1024) / 1023
    light = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(light * 65535).astype(int))
    made = make_profile(SRGB_PRIMARIES, SRGB_CURVE) or b""
    assert is_srgb(made[:-32] + curve)  # the profile everybody uses has its curve as a table
    for other in ("Display P3", "Adobe RGB", "linear", "gamma 1.8"):
        assert not is_srgb(profile(other))


def test_an_srgb_profile_does_not_load_the_colour_engine() -> None:
    code = (
        "import sys, io; from edge_runtime.imaging.preprocessing import load_image_hwc;"
        "load_image_hwc(sys.stdin.buffer.read()); print('PIL.ImageCms' in sys.modules)"
    )
    for wanted, loaded in ((SRGB_PROFILE, "False"), (profile("Display P3"), "True")):
        data = encoded(IMAGE, "PNG", icc_profile=wanted)
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=REPOSITORY, check=True)
        assert done.stdout.decode().strip() == loaded


GAMMA_1_8 = chunk(b"gAMA", struct.pack(">I", round(100_000 / 1.8)))
P3_CHRM = chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in PRIMARIES[12])))
SRGB_GAMMA = chunk(b"gAMA", struct.pack(">I", 45455))


@pytest.mark.parametrize(
    ("chunks", "name"),
    [
        (GAMMA_1_8, "gamma 1.8"),
        (chunk(b"gAMA", struct.pack(">I", 100_000)), "linear"),
        (P3_CHRM, "Display P3"),
        (P3_CHRM + SRGB_GAMMA, "Display P3"),
        (chunk(b"cICP", bytes([12, 13, 0, 1])), "Display P3"),
        (chunk(b"cICP", bytes([12, 13, 0, 1])) + chunk(b"sRGB", b"\0") + GAMMA_1_8, "Display P3"),
        (chunk(b"iCCP", b"p\0\0" + zlib.compress(profile("Adobe RGB"))) + GAMMA_1_8, "Adobe RGB"),
    ],
)
def test_colour_chunks_of_a_png(chunks: bytes, name: str) -> None:
    found = load_image_hwc(png_with(chunks, expressed_in(IMAGE, profile(name))))
    assert differences(found, load_image_hwc(IMAGE)).mean() < 0.8


@pytest.mark.parametrize(
    "chunks",
    [
        SRGB_GAMMA,
        SRGB_GAMMA + chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in SRGB_PRIMARIES))),
        chunk(b"sRGB", b"\0") + GAMMA_1_8,
        chunk(b"cICP", bytes([1, 13, 0, 1])) + GAMMA_1_8,
        chunk(b"cICP", bytes([9, 16, 0, 1])),  # PQ: no profile of this kind says it
        chunk(b"gAMA", struct.pack(">I", 1)),
        chunk(b"gAMA", struct.pack(">I", 2**32 - 1)),
    ],
)
def test_colour_chunks_that_mean_srgb_or_nothing(chunks: bytes) -> None:
    found = load_image_hwc(png_with(chunks, IMAGE))
    assert found.shape == (224, 224, 3)
    if b"gAMA\0\0\0\1" not in chunks and b"gAMA\xff" not in chunks:
        np.testing.assert_array_equal(found, load_image_hwc(IMAGE))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_transparent_everywhere_shows_the_colours(file_format: str) -> None:
    rgba = IMAGE.copy()
    rgba.putalpha(0)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    np.testing.assert_array_equal(load_image_hwc(encoded(rgba, file_format, **options)), load_image_hwc(IMAGE))


def test_grey_and_palette_that_are_transparent_everywhere() -> None:
    grey = IMAGE.convert("LA")
    grey.putalpha(0)
    np.testing.assert_array_equal(
        load_image_hwc(encoded(grey, "PNG")), load_image_hwc(IMAGE.convert("L").convert("RGB"))
    )
    palette = IMAGE.quantize(64)
    found = load_image_hwc(encoded(palette, "PNG", transparency=bytes(64)))
    np.testing.assert_array_equal(found, load_image_hwc(palette.convert("RGB")))


def test_one_visible_pixel_makes_the_rest_white() -> None:
    rgba = Image.new("RGBA", (224, 224), (200, 0, 0, 0))
    rgba.putpixel((5, 5), (1, 2, 3, 255))
    found = load_image_hwc(encoded(rgba, "PNG"))
    assert tuple(found[5, 5]) == (1, 2, 3)
    assert tuple(found[100, 100]) == (255, 255, 255)


def test_transparency_and_a_profile_together() -> None:
    rgba = expressed_in(IMAGE, profile("Adobe RGB"))
    rgba.putalpha(255)
    rgba.putpixel((0, 0), (0, 0, 0, 254))
    found = load_image_hwc(encoded(rgba, "PNG", icc_profile=profile("Adobe RGB")))
    assert differences(found, load_image_hwc(IMAGE)).mean() < 0.8
