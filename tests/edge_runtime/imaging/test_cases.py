"""Files as people's devices and programs write them; the other tests here make equal ones everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import ImageError
from edge_runtime.imaging.formats import AVIF, HEIC, ImageFormat, identify_format
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import REPOSITORY

CASES = REPOSITORY.parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the collected files are not at {CASES}")


def load(name: str) -> np.ndarray:
    return load_image_hwc(CASES / name).astype(int)


@pytest.mark.parametrize("name", ["negative-rational", "slong-for-short"])
def test_odd_exif(name: str) -> None:
    np.testing.assert_array_equal(load(f"odd-exif/{name}.jpg"), load("odd-exif/orientation-only.jpg"))


def test_damaged_jpeg() -> None:
    assert load("damaged-jpeg/whole.jpg").shape == (224, 224, 3)
    for name in ("eoi-after-50-percent.jpg", "zeros-after-50-percent.jpg"):
        with pytest.raises(ImageError, match=f"{name}: damaged image: "):
            load(f"damaged-jpeg/{name}")


def test_raw_photograph() -> None:
    with pytest.raises(ImageError, match=r"photo\.dng: expected one of .*, found a raw photograph"):
        load("raw-preview/photo.dng")


def test_display_p3() -> None:
    difference = np.abs(load("display-p3/p3-tagged.png") - load("display-p3/srgb.png"))
    assert difference.max() <= 2
    assert difference.mean() < 0.3


@pytest.mark.parametrize(("name", "expected"), [("mif1-brand.avif", AVIF), ("rotated.heic", HEIC)])
def test_brands(name: str, expected: ImageFormat) -> None:
    path = CASES / "brands" / name
    assert identify_format(path.read_bytes()) == expected
    if expected.is_supported:
        assert np.abs(load(f"brands/{name}") - load("damaged-jpeg/whole.jpg")).mean() < 8
    else:
        with pytest.raises(ImageError, match=f"is an? {expected.name} image, which needs"):
            load(f"brands/{name}")


def test_endings_do_not_matter() -> None:
    paths = sorted(path for path in Path(CASES / "folder-endings").iterdir() if path.is_file())
    assert len(paths) == 5
    for path in paths:
        np.testing.assert_array_equal(load_image_hwc(path), load_image_hwc(paths[0]))
