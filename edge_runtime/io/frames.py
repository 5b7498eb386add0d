"""A stream of images from a camera, a video file or a folder, as uint8 arrays (H, W, 3) in RGB."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError, ImageError
from edge_runtime.imaging.decoding import decode_image
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.io.sources import images_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICAMERA = "picamera"


def open_frames(source: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of ``source``: ``picamera``, a camera's number or ``/dev/video…``, a video file, or a folder.

    Raises :class:`EngineError` when a package is missing and :class:`ImageError` when the source gives no image.
    """
    if source == PICAMERA:
        return _picamera_frames()
    if Path(source).is_dir():
        return _folder_frames(source)
    if not source.isdigit() and not Path(source).exists():
        raise ImageError(f"{source}: expected picamera, a camera's number, a device, a video file or a folder")
    return _opencv_frames(source)


def _folder_frames(folder: str) -> Iterator[NDArray[np.uint8]]:
    empty = True
    for path in images_in(folder):
        empty = False
        yield np.asarray(decode_image(path, INPUT_SIZE))
    if empty:
        raise ImageError(f"{folder}: expected images in this folder, found none")


def _opencv_frames(source: str) -> Iterator[NDArray[np.uint8]]:
    cv2 = _import("cv2", "opencv-python-headless")
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the camera's newest image, not one that has waited in a queue
    try:
        if not capture.isOpened():
            raise ImageError(f"{source}: cannot be opened as a camera or video")
        while True:
            there, frame_bgr = capture.read()
            if not there:
                if _is_camera(source):  # a video ends; a camera was unplugged or has failed
                    raise ImageError(f"{source}: the camera gives no image any more")
                return
            yield np.ascontiguousarray(frame_bgr[..., ::-1])
    finally:
        capture.release()


def _is_camera(source: str) -> bool:
    return source.isdigit() or source.startswith("/dev/")


def _picamera_frames() -> Iterator[NDArray[np.uint8]]:
    camera = _import("picamera2", "python3-picamera2 (from Debian)").Picamera2()
    # The driver names channels by their order in a 32-bit word: its "BGR888" is red, green, blue in memory.
    camera.configure(camera.create_video_configuration(main={"size": (1024, 768), "format": "BGR888"}))
    camera.start()
    try:
        while True:
            yield camera.capture_array("main")
    finally:
        camera.stop()


def _import(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise EngineError(f"this source needs the package {package}") from None
