"""``python -m edge_runtime camera``: classify what a camera sees, frame by frame.

Predictions are printed as text or JSON lines; the image with its heat map goes into a file that is always complete, or
onto the screen. A video file or a folder of images stands in for the camera.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

from PIL import Image

from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import CameraOptions
from edge_runtime.errors import EngineError, ImageError
from edge_runtime.imaging.overlay import render_side_by_side
from edge_runtime.interruption import catch_stop_signals
from edge_runtime.io.frames import open_frames
from edge_runtime.io.image_file import write_png
from edge_runtime.io.output import prediction_writer
from edge_runtime.prediction import Prediction

_RATE_FRAMES = 30


def run_camera(options: CameraOptions) -> int:
    """Classify frames until the source ends, ``--frames`` are done, or a stop is requested."""
    shows = _displays(options)
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        classifier = stack.enter_context(load_classifier(options))
        patient = read_patient(options, classifier)
        writer = prediction_writer(options.line_format, sys.stdout)
        rate = FrameRate()
        predicted, due = 0, monotonic()
        for number, frame_hwc in enumerate(open_frames(options.source)):
            if interruption or (options.frames and predicted >= options.frames):
                break
            if monotonic() < due:
                continue
            due = monotonic() + options.every
            prediction = classifier.predict(frame_hwc, explain=bool(shows), patient=patient)
            predicted += 1
            frames_per_second = rate.count(monotonic())
            more = {"frame": number, "frames_per_second": frames_per_second}
            writer.prediction(f"{options.source}#{number}", prediction, **more)
            for show in shows:
                show(prediction, frames_per_second)
    if not predicted and not interruption:
        raise ImageError(f"{options.source}: gave no image")
    print(f"{predicted} frames classified, {rate.overall():.1f} per second", file=sys.stderr)
    return 0


class FrameRate:
    """Predictions per second: over the last frames, and over all."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._first: float | None = None
        self._count = 0

    def count(self, now: float) -> float | None:
        """Count one frame classified at ``now`` seconds; return the recent rate, ``None`` for the first frame."""
        self._first = now if self._first is None else self._first
        self._count += 1
        self._times.append(now)
        span = self._times[-1] - self._times[0]
        return round((len(self._times) - 1) / span, 2) if span > 0 else None

    def overall(self) -> float:
        """Return the rate from the first to the last frame, 0 when there was only one."""
        span = self._times[-1] - self._first if self._times and self._first is not None else 0.0
        return (self._count - 1) / span if span > 0 else 0.0


def _displays(options: CameraOptions) -> list[Callable[[Prediction, float | None], None]]:
    shows: list[Callable[[Prediction, float | None], None]] = []
    if options.overlay:
        path = options.overlay
        shows.append(lambda prediction, _: write_png(path, _image(prediction)))
    if options.show:
        shows.append(_window())
    return shows


def _window() -> Callable[[Prediction, float | None], None]:
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
