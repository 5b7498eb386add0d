"""One settings struct for each command: its flags, ranges, defaults and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_runtime.options import BundleOptions, LineOptions, PatientOptions, Positive, Seconds
from edge_runtime.vocabulary import OverlayStyle, Shell


class PredictOptions(LineOptions, frozen=True, kw_only=True):
    """``predict``: images in, one line each out."""

    images: Annotated[
        tuple[str, ...],
        Meta(
            description="image files, folders, 'patterns*', or - for stdin",
            extra={"positional": True, "metavar": "IMAGE_OR_FOLDER"},
        ),
    ]
    explain: Annotated[
        Path | None,
        Meta(description="write each image's Grad-CAM overlay into this folder", extra={"metavar": "OUT_DIR"}),
    ] = None
    batch: Annotated[Positive, Meta(description="batch size")] = 1
    output: Annotated[
        Path | None,
        Meta(description="write the predictions into this .jsonl or .csv file instead", extra={"metavar": "FILE"}),
    ] = None
    resume: Annotated[bool, Meta(description="resume the file of --output")] = False


class ExplainOptions(PatientOptions, frozen=True, kw_only=True):
    """``explain``: one image's class-activation map."""

    image: Annotated[
        str, Meta(description="image file, or - for stdin", extra={"positional": True, "metavar": "IMAGE"})
    ]
    output: Annotated[Path, Meta(description="PNG to write", extra={"metavar": "FILE"})] = Path("explanation.png")
    class_code: Annotated[
        str | None,
        Meta(
            description="code of the class to explain (default: the most probable)",
            extra={"flag": "--class", "metavar": "CODE"},
        ),
    ] = None
    style: Annotated[
        OverlayStyle,
        Meta(description="image and overlay, overlay alone, or the heat map alone with transparency"),
    ] = "side-by-side"
    json: Annotated[bool, Meta(description="print one JSON object, with the map's values")] = False


class WatchOptions(PatientOptions, frozen=True, kw_only=True):
    """``watch``: a folder, image by image."""

    folder: Annotated[
        Path,
        Meta(description="folder to watch, with its subfolders", extra={"positional": True, "metavar": "DIR"}),
    ]
    output: Annotated[
        Path | None,
        Meta(
            description="predictions, also the record of what is done (default: DIR/dermedge-results.jsonl)",
            extra={"metavar": "FILE"},
        ),
    ] = None
    interval: Annotated[Seconds, Meta(description="polling interval in seconds", extra={"metavar": "S"})] = 1.0
    once: Annotated[bool, Meta(description="exit when every image has a prediction")] = False


class CameraOptions(LineOptions, frozen=True, kw_only=True):
    """``camera``: a camera, a video or a folder, frame by frame."""

    source: Annotated[
        str,
        Meta(
            description="picamera, a camera's number, /dev/video…, a video file, or a folder of images",
            extra={"positional": True, "metavar": "SOURCE"},
        ),
    ] = "0"
    resolution: Annotated[
        Annotated[str, Meta(pattern="^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")] | None,
        Meta(
            description="resolution to ask the camera for",
            extra={"metavar": "WxH", "expected": "a width and height in pixels such as 1280x720"},
        ),
    ] = None
    pixel_format: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z0-9 ]{4}$")] | None,
        Meta(
            description="pixel format to ask the camera for",
            extra={"metavar": "CODE", "expected": "a code of four characters such as MJPG or YUYV"},
        ),
    ] = None
    frames: Annotated[Positive | None, Meta(description="stop after N predictions")] = None
    every: Annotated[
        Seconds, Meta(description="least number of seconds between two predictions", extra={"metavar": "S"})
    ] = 0.0
    overlay: Annotated[
        Path | None,
        Meta(description="keep the newest image with its heat map in this PNG", extra={"metavar": "FILE"}),
    ] = None
    show: Annotated[bool, Meta(description="show the newest image in a window")] = False


class InfoOptions(BundleOptions, frozen=True, kw_only=True):
    """``info``: what a bundle is."""

    json: Annotated[bool, Meta(description="print the manifest as JSON, after verifying it")] = False


class VerifyOptions(BundleOptions, frozen=True, kw_only=True):
    """``verify``: whether a bundle is intact and runs here."""

    json: Annotated[bool, Meta(description="print one JSON object")] = False


class CompletionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``completion``: a script for a shell."""

    shell: Annotated[Shell, Meta(description="shell to complete in", extra={"positional": True, "metavar": "SHELL"})]
