"""What the tests of all packages share. Imports nothing heavy: the device's tests run without torch."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data" / "ham10000-224"
TINY_BUNDLE = REPOSITORY / "tests" / "fixtures" / "tiny_bundle"
REFERENCE_BUNDLE = REPOSITORY / "models" / "ham10000-resnet18"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes that no one can read by their number: command lines and mutation testing take the names of tests."""
    if isinstance(val, bytes) and (len(val) > 40 or not (val.isascii() and val.decode().isprintable())):
        return f"{len(val)} bytes"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that drive a browser; skip those marked ``real_data``, saying why, where the images are not."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
        if item.get_closest_marker("real_data") and not REAL_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"the real images are not at {REAL_DATA}"))


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the code remembers between runs out of the user's folders, and the environment out of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("DERMEDGE_BUNDLE", raising=False)


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """The committed bundle of a few kilobytes."""
    return TINY_BUNDLE


def blob_image(width: int = 600, height: int = 450, seed: int = 0) -> Image.Image:
    """Return a smooth RGB image of coloured blobs."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    """Return the image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six JPEGs of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(6):
        blob_image(300 + 60 * number, 250 + 40 * number, number).save(folder / f"lesion-{number}.jpg", quality=92)
    return folder


@pytest.fixture
def run_environment() -> dict[str, str]:
    """Environment for child processes that import this checkout."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}
