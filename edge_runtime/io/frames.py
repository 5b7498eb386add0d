"""A stream of images from a camera, a video file or a folder, as uint8 arrays (H, W, 3) in RGB."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError, ImageError, printable
from edge_runtime.imaging.decoding import decode_image
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.io.walk import PassedOver, walk_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8] | ImageError | None

PICAMERA = "picamera"
PATIENCE_SECONDS = 10.0
"""A camera that gives no image for so long has failed or was unplugged."""

_PAUSE_SECONDS = 0.05
_PICAMERA_SIZE = (1024, 768)


@dataclass(frozen=True)
class CameraMode:
    """What to ask a camera for: width and height in pixels, and a four-character pixel format; ``None``: its own."""

    size: tuple[int, int] | None = None
    pixel_format: str | None = None


def open_frames(source: str, mode: CameraMode | None = None) -> Generator[Frame, None, None]:
    """Yield the frames of ``source``: ``picamera``, a camera's number or ``/dev/video…``, a video file, or a folder.

    An :class:`ImageError` stands for a file of a folder that cannot be used, ``None`` for a read of a camera that gave
    no image: cameras drop frames while they start, and damaged frames later. Raises :class:`EngineError` when a package
    is missing, and :class:`ImageError` when the source gives no image or a camera none for 10 seconds.
    """
    asked = mode or CameraMode()
    if source == PICAMERA:
        return _picamera_frames(asked)
    is_camera = source.isdigit() or source.startswith("/dev/")
    if asked != CameraMode() and not is_camera:
        raise ImageError(f"{source}: expected a camera for a resolution or pixel format, found a file or folder")
    if Path(source).is_dir():
        return _folder_frames(source)
    if not source.isdigit() and not Path(source).exists():
        raise ImageError(f"{source}: expected picamera, a camera's number, a device, a video file or a folder")
    return _camera_frames(source, asked) if is_camera else _video_frames(source)


def _folder_frames(folder: str) -> Generator[Frame, None, None]:
    passed_over = PassedOver()
    empty = True
    for path, problem in walk_images(folder, passed_over):
        empty = False
        if problem is not None:
            yield problem
            continue
        try:
            yield np.asarray(decode_image(path, INPUT_SIZE))
        except ImageError as error:
            yield error
    for line in passed_over.summary():
        print(printable(line), file=sys.stderr)
    if empty:
        raise ImageError(f"{folder}: expected images in this folder, found none")


def _video_frames(source: str) -> Generator[Frame, None, None]:
    cv2 = _import("cv2", "opencv-python-headless")
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise ImageError(f"{source}: cannot be opened as a video")
        while (frame := _read(capture)) is not None:
            yield frame
    finally:
        capture.release()


def _camera_frames(source: str, mode: CameraMode) -> Generator[Frame, None, None]:
    cv2 = _import("cv2", "opencv-python-headless")
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    try:
        if not capture.isOpened():
            raise ImageError(f"{source}: cannot be opened as a camera")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the camera's newest image, not one that has waited in a queue
        if mode.pixel_format is not None:  # before the size: a camera has other sizes in other formats
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*mode.pixel_format))
        if mode.size is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, mode.size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, mode.size[1])
        yield from _patient_frames(source, capture, mode)
    finally:
        capture.release()


def _patient_frames(source: str, capture: Any, mode: CameraMode) -> Generator[Frame, None, None]:
    """Yield the camera's frames, ``None`` for each read that fails, until none came for :data:`PATIENCE_SECONDS`."""
    last, first = monotonic(), True
    while True:
        frame = _read(capture)
        if frame is None:
            if monotonic() - last >= PATIENCE_SECONDS:
                raise ImageError(f"{source}: the camera has given no image for {PATIENCE_SECONDS:g} seconds")
            sleep(_PAUSE_SECONDS)
        else:
            if first and mode.size is not None and (frame.shape[1], frame.shape[0]) != mode.size:
                found, wanted = f"{frame.shape[1]}x{frame.shape[0]}", "x".join(map(str, mode.size))
                print(f"warning: {source}: the camera gives {found}, not {wanted}", file=sys.stderr)
            first = False
        yield frame
        if frame is not None:
            last = monotonic()  # after the yield: the time that a prediction takes is not the camera's


def _read(capture: Any) -> NDArray[np.uint8] | None:
    """Return the next frame in RGB, ``None`` if there is none or it is damaged."""
    try:
        there, frame_bgr = capture.read()
    except Exception:  # OpenCV's own error, and those of the plug-ins it reads through
        return None
    if not there or frame_bgr is None or frame_bgr.size == 0:
        return None
    if frame_bgr.ndim == 2:  # a monochrome camera
        frame_bgr = frame_bgr[..., np.newaxis]
    channels = [0, 0, 0] if frame_bgr.shape[2] == 1 else [2, 1, 0]
    return np.ascontiguousarray(frame_bgr[..., channels])


def _picamera_frames(mode: CameraMode) -> Generator[Frame, None, None]:
    if mode.pixel_format is not None:
        raise ImageError(f"{PICAMERA}: its pixel format is fixed; only a resolution can be asked for")
    camera = _import("picamera2", "python3-picamera2 (from Debian)").Picamera2()
    # The driver names channels by their order in a 32-bit word: its "BGR888" is red, green, blue in memory.
    main = {"size": mode.size or _PICAMERA_SIZE, "format": "BGR888"}
    camera.configure(camera.create_video_configuration(main=main))
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
