"""Cameras as they are: late, dropping frames, and with wishes about their mode; a stand-in for OpenCV's capture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.errors import ImageError
from edge_runtime.io import frames
from edge_runtime.io.frames import CameraMode, open_frames
from tests.conftest import blob_image

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed here")

PATIENCE = 1.0
"""Seconds; long enough for reads that follow each other on a busy machine."""

FRAME_BGR = np.ascontiguousarray(np.asarray(blob_image(320, 240))[..., ::-1])


class Capture:
    """What ``cv2.VideoCapture`` does, from a script of reads: an array, ``None``, or an exception."""

    def __init__(self, reads: list[Any], settings: dict[int, float]) -> None:
        self.reads = reads
        self.settings = settings
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return True

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def read(self) -> tuple[bool, Any]:
        found = self.reads.pop(0) if self.reads else None
        if isinstance(found, Exception):
            raise found
        return found is not None, found

    def release(self) -> None:
        self.released = True


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], Capture]:
    def install(reads: list[Any]) -> Capture:
        capture = Capture(list(reads), {})
        monkeypatch.setattr("cv2.VideoCapture", lambda _: capture)
        return capture

    monkeypatch.setattr(frames, "PATIENCE_SECONDS", PATIENCE)
    return install


def test_failed_reads_are_waited_out(connect: Callable[[list[Any]], Capture]) -> None:
    """The first frames of a USB microscope, a damaged MJPEG frame in the middle, and an error of OpenCV's."""
    capture = connect([None, None, FRAME_BGR, None, cv2.error("damaged"), FRAME_BGR, np.empty((0, 0, 3), np.uint8)])
    found = []
    with pytest.raises(ImageError, match=r"^0: the camera has given no image for 1 seconds$"):
        found.extend(open_frames("0"))
        raise AssertionError("a camera does not end")
    assert capture.released
    stream = open_frames("0")
    connect([None, FRAME_BGR])
    assert next(stream) is None
    np.testing.assert_array_equal(next(stream), FRAME_BGR[..., ::-1])
    stream.close()


@pytest.mark.slow
def test_the_limit_counts_from_the_last_image(connect: Callable[[list[Any]], Capture]) -> None:
    connect([None, FRAME_BGR] * 30)  # with the pauses after failed reads, longer than the limit
    started, found = time.monotonic(), []
    with pytest.raises(ImageError, match="no image for"):
        found.extend(open_frames("1"))
        raise AssertionError("a camera does not end")
    assert sum(frame is not None for frame in found) == 30
    assert 2 * PATIENCE <= time.monotonic() - started < 30


def test_a_slow_prediction_is_not_the_cameras_fault(connect: Callable[[list[Any]], Capture]) -> None:
    connect([FRAME_BGR, None, FRAME_BGR])
    stream = open_frames("0")
    next(stream)
    time.sleep(PATIENCE + 0.1)  # what a prediction may take on a small device
    assert next(stream) is None
    np.testing.assert_array_equal(next(stream), FRAME_BGR[..., ::-1])
    stream.close()


def test_the_command_continues_after_failed_reads(
    connect: Callable[[list[Any]], Capture], tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connect([None, FRAME_BGR, None, FRAME_BGR])
    flags = ["--bundle", str(tiny_bundle), "--engine", installed_engines()[0], "--json", "--frames", "2"]
    assert main(["camera", "0", *flags]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1]


def test_resolution_and_pixel_format_are_asked_for(
    connect: Callable[[list[Any]], Capture], tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = connect([FRAME_BGR])
    flags = ["--bundle", str(tiny_bundle), "--engine", installed_engines()[0], "--json", "--frames", "1"]
    assert main(["camera", "1", *flags, "--resolution", "1280x720", "--pixel-format", "MJPG"]) == 0
    assert capture.settings[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert capture.settings[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert capture.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter_fourcc(*"MJPG")
    keys = list(capture.settings)
    assert keys.index(cv2.CAP_PROP_FOURCC) < keys.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert "warning: 1: the camera gives 320x240, not 1280x720" in capsys.readouterr().err


def test_without_a_wish_the_cameras_own_mode_stays(connect: Callable[[list[Any]], Capture]) -> None:
    capture = connect([FRAME_BGR])
    next(open_frames("0"))
    assert set(capture.settings) == {cv2.CAP_PROP_BUFFERSIZE}


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--resolution", "1280", "a width and height in pixels such as 1280x720, found 1280"),
        ("--resolution", "0x720", "a width and height in pixels such as 1280x720, found 0x720"),
        ("--pixel-format", "JPEG2", "a code of four characters such as MJPG or YUYV, found JPEG2"),
    ],
)
def test_a_wrong_mode_is_wrong_usage(flag: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["camera", "0", flag, value])
    assert stopped.value.code == 2
    assert f"error: argument {flag}: expected {expected} (see " in capsys.readouterr().err


def test_only_cameras_have_a_mode(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected a camera for a resolution or pixel format, found a file or folder"):
        open_frames(str(tmp_path), CameraMode(size=(640, 480)))
    with pytest.raises(ImageError, match="picamera: its pixel format is fixed"):
        next(open_frames("picamera", CameraMode(pixel_format="MJPG")))


@pytest.mark.parametrize("shape", [(240, 320), (240, 320, 1)])
def test_a_monochrome_camera_gives_rgb(shape: tuple[int, ...], connect: Callable[[list[Any]], Capture]) -> None:
    grey = np.arange(240 * 320, dtype=np.uint8).reshape(shape)
    connect([grey])
    frame = next(open_frames("0"))
    assert isinstance(frame, np.ndarray)
    np.testing.assert_array_equal(frame, np.repeat(grey.reshape(240, 320, 1), 3, axis=2))


def test_a_bad_image_in_a_folder_does_not_end_the_run(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob_image().save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    blob_image().save(tmp_path / "c.jpg")
    flags = ["--bundle", str(tiny_bundle), "--engine", installed_engines()[0], "--json"]
    assert main(["camera", str(tmp_path), *flags]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert "b.jpg" in lines[1]["error"]
