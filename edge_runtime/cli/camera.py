"""``python -m edge_runtime camera``: classify what a camera sees, frame by frame.

Predictions are printed as text or JSON lines; the image with its heat map goes into a file that is always complete, or
onto the screen. A video file or a folder of images stands in for the camera.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from time import monotonic
from typing import Any

from PIL import Image

from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import CameraOptions
from edge_runtime.errors import DataError, EngineError, ImageError
from edge_runtime.imaging.overlay import render_side_by_side
from edge_runtime.interruption import catch_stop_signals
from edge_runtime.io.frames import CameraMode, open_frames
from edge_runtime.io.image_file import write_png
from edge_runtime.io.output import prediction_writer
from edge_runtime.prediction import Prediction

_RATE_FRAMES = 30

Show = Callable[[Prediction, float | None], None]
"""Takes a prediction and the recent frames per second, which are ``None`` at first."""


def run_camera(options: CameraOptions) -> int:
    """Classify frames until the source ends, ``--frames`` are done, or a stop is requested.

    Returns 1 when an image of a folder could not be used or a heat map could not be written.
    """
    shows = _displays(options)
    width, _, height = (options.resolution or "").partition("x")
    mode = CameraMode((int(width), int(height)) if width else None, options.pixel_format)
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        classifier = stack.enter_context(load_classifier(options))
        patient = read_patient(options, classifier)
        writer = prediction_writer(options.line_format, sys.stdout, classifier.manifest.class_set)
        rate = FrameRate()
        failed, due = 0, monotonic()
        frames = stack.enter_context(closing(open_frames(options.source, mode)))
        for number, frame in enumerate(frame for frame in frames if frame is not None or interruption):
            if interruption:
                break
            name = f"{options.source}#{number}"
            if isinstance(frame, ImageError):
                failed += 1
                writer.error(name, frame)
            elif frame is not None and monotonic() >= due:
                due = monotonic() + options.every
                prediction = classifier.predict(frame, explain=bool(shows), patient=patient)
                frames_per_second = rate.add(monotonic())
                writer.prediction(name, prediction, frame=number, frames_per_second=frames_per_second)
                for problem in _show_all(shows, prediction, frames_per_second):
                    failed += 1
                    writer.error(name, problem)
                if rate.count == options.frames:
                    break
    if not rate.count and not failed and not interruption:
        raise ImageError(f"{options.source}: gave no image")
    print(f"{rate.count} frames classified, {rate.overall():.1f} per second", file=sys.stderr)
    return 1 if failed else 0


def _show_all(shows: list[Show], prediction: Prediction, frames_per_second: float | None) -> list[DataError]:
    """Show a prediction everywhere; returns what went wrong, since one heat map must not end the run."""
    problems = []
    for show in shows:
        try:
            show(prediction, frames_per_second)
        except DataError as error:
            problems.append(error)
    return problems


class FrameRate:
    """Predictions per second: over the last frames, and over all."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._first: float | None = None
        self.count = 0

    def add(self, now: float) -> float | None:
        """Count one frame classified at ``now`` seconds; return the recent rate, ``None`` for the first frame."""
        self._first = now if self._first is None else self._first
        self.count += 1
        self._times.append(now)
        span = self._times[-1] - self._times[0]
        return round((len(self._times) - 1) / span, 2) if span > 0 else None

    def overall(self) -> float:
        """Return the rate from the first to the last frame, 0 when there was only one."""
        span = self._times[-1] - self._first if self._times and self._first is not None else 0.0
        return (self.count - 1) / span if span > 0 else 0.0


def _displays(options: CameraOptions) -> list[Show]:
    shows: list[Show] = []
    if options.overlay:
        path = options.overlay
        shows.append(lambda prediction, _: write_png(path, _image(prediction)))
    if options.show:
        shows.append(_window())
    return shows


def _window() -> Show:
    try:
        import cv2

        cv2.namedWindow("dermedge", cv2.WINDOW_NORMAL)
    except Exception:  # not installed, built without GUI support, or no screen
        raise EngineError("--show needs a screen and the package opencv-python") from None

    def show(prediction: Prediction, frames_per_second: float | None) -> None:
        import numpy as np

        pixels_bgr = np.ascontiguousarray(np.asarray(_image(prediction))[..., ::-1])
        verdict = {"not_sure": "not sure: ", "not_a_lesion_image": "not a lesion image? "}.get(prediction.verdict, "")
        rate = f", {frames_per_second:.1f}/s" if frames_per_second else ""
        title: Any = f"{verdict}{prediction.label} {prediction.confidence:.0%}{rate}"
        cv2.setWindowTitle("dermedge", title)
        cv2.imshow("dermedge", pixels_bgr)
        cv2.waitKey(1)

    return show


def _image(prediction: Prediction) -> Image.Image:
    assert prediction.class_activation_map is not None
    return render_side_by_side(prediction.image_hwc, prediction.class_activation_map)
