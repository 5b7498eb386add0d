"""The flags of the device's commands, in one place; the tests hold the documentation against it."""

from __future__ import annotations

import argparse
from typing import Any

from edge_runtime.settings import OneLineParser

PRECISIONS = ("int8", "fp32", "fp16", "dynamic")
ENGINE_CHOICES = ("auto", "onnx", "tflite", "openvino")
OUTPUT_FORMATS = ("text", "table", "jsonl", "csv")
VIEW_COUNTS = (1, 4, 8)
CLASS_CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = OneLineParser(
        prog="python -m edge_runtime",
        description="Classify images of skin lesions on this device. Research software, not a medical device.",
        epilog="exit status: 0 all answered; 1 something could not be read, loaded or verified; 2 wrong usage; "
        "130 or 143 stopped by Ctrl-C or SIGTERM after the lines under way were written",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=OneLineParser)
    _add_predict(commands)
    _add_explain(commands)
    _add_watch(commands)
    _add_camera(commands)
    _add_bench(commands)
    _add_bundle_commands(commands)
    completion = _command(
        commands, "completion", "print a shell's completion script",
        "Print a script that completes commands, flags and their values.",
        'eval "$(dermedge completion bash)"',
    )  # fmt: skip
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell to complete in")
    return parser


def _command(commands: Any, name: str, help_line: str, description: str, example: str) -> argparse.ArgumentParser:
    program = example if example.startswith("eval") else f"python -m edge_runtime {name} {example}"
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_line,
        description=description,
        epilog=f"example: {program}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    return parser


def _add_predict(commands: Any) -> None:
    predict = _command(
        commands, "predict", "classify images", "Classify images, and all images of folders and patterns.",
        "lesion.jpg more/ --engine tflite --explain maps/",
    )  # fmt: skip
    predict.add_argument(
        "images", nargs="+", metavar="IMAGE_OR_FOLDER", help="image files, folders, 'patterns*', or - for stdin"
    )
    _add_variant(predict)
    predict.add_argument("--explain", metavar="OUT_DIR", help="write each image's Grad-CAM overlay into this folder")
    predict.add_argument("--threads", type=_positive, metavar="N", help="processors to use (default: all)")
    predict.add_argument("--batch", type=_positive, default=1, metavar="N", help="images a call of the engine")
    _add_patient(predict)
    _add_format(predict)
    predict.add_argument("--output", metavar="FILE", help="write the answers into this .jsonl or .csv file instead")
    predict.add_argument("--resume", action="store_true", help="go on with the file of --output")


def _add_explain(commands: Any) -> None:
    explain = _command(
        commands, "explain", "show where the evidence lies", "Write one image's Grad-CAM for one class as a PNG.",
        "lesion.jpg --class mel --output melanoma.png",
    )  # fmt: skip
    explain.add_argument("image", metavar="IMAGE", help="image file, or - for stdin")
    explain.add_argument("--output", metavar="FILE", default="explanation.png", help="PNG to write")
    explain.add_argument(
        "--class", dest="class_code", choices=CLASS_CODES, help="class to explain (default: the most probable)"
    )
    explain.add_argument(
        "--style", choices=("side-by-side", "overlay", "heat"), default="side-by-side",
        help="image and overlay, overlay alone, or the heat alone with transparency",
    )  # fmt: skip
    _add_variant(explain)
    explain.add_argument("--threads", type=_positive, metavar="N", help="processors to use (default: all)")
    _add_patient(explain)
    explain.add_argument("--json", action="store_true", help="print one JSON object, with the map's values")


def _add_watch(commands: Any) -> None:
    watch = _command(
        commands, "watch", "answer images as they appear in a folder",
        "Answer each image that appears in a folder once, across restarts; answers also go to stdout.",
        "/srv/dermatoscope",
    )  # fmt: skip
    watch.add_argument("folder", metavar="DIR", help="folder to watch, with the folders in it")
    watch.add_argument("--output", metavar="FILE", help="answers and memory (default: DIR/dermedge-results.jsonl)")
    watch.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="seconds between two looks")
    watch.add_argument("--once", action="store_true", help="stop when nothing is left to answer")
    _add_variant(watch)
    watch.add_argument("--threads", type=_positive, metavar="N", help="processors to use (default: all)")
    _add_patient(watch)


def _add_camera(commands: Any) -> None:
    camera = _command(
        commands, "camera", "classify what a camera sees", "Answer frame by frame from a camera, a video or a folder.",
        "0 --every 0.5 --overlay /run/dermedge/now.png",
    )  # fmt: skip
    camera.add_argument(
        "source", nargs="?", default="0", metavar="SOURCE",
        help="picamera, a camera's number, /dev/video…, a video file, or a folder of images",
    )  # fmt: skip
    camera.add_argument("--frames", type=_positive, metavar="N", help="stop after N answers")
    camera.add_argument("--every", type=_seconds, default=0.0, metavar="S", help="seconds between two answers")
    camera.add_argument("--overlay", metavar="FILE", help="keep the newest image with its heat map in this PNG")
    camera.add_argument("--show", action="store_true", help="show the newest image in a window")
    _add_variant(camera)
    camera.add_argument("--threads", type=_positive, metavar="N", help="processors to use (default: all)")
    _add_patient(camera)
    _add_format(camera)


def _add_bench(commands: Any) -> None:
    bench = _command(
        commands, "bench", "measure speed on this device",
        "Time the bare engine, decode-to-answer, and answer with map, for every variant, in turns.", "--threads 1",
    )  # fmt: skip
    _add_bundle(bench)
    bench.add_argument("--threads", type=_positive, default=1, metavar="N", help="the engine's threads")
    bench.add_argument("--rounds", type=_positive, default=60, metavar="N", help="measured rounds")
    bench.add_argument(
        "--peers", action="store_true",
        help="also cold start, memory, folder mode, and other engines on the same model, where installed",
    )  # fmt: skip
    bench.add_argument("--check", action="store_true", help="exit status 1 when a ratio is outside its bar")
    bench.add_argument("--json", action="store_true", help="print one JSON object")


def _add_bundle_commands(commands: Any) -> None:
    info = _command(
        commands, "info", "check a bundle and show what it is",
        "Verify every file of a bundle against its manifest and print the manifest's main facts.",
        "--bundle models/demo",
    )  # fmt: skip
    _add_bundle(info)
    info.add_argument("--json", action="store_true", help="print the manifest as JSON, after verifying it")
    verify = _command(
        commands, "verify", "check a bundle and try it",
        "Check the manifest's seal and every graph's sum, then let every variant answer on this device.",
        "--bundle models/demo",
    )  # fmt: skip
    _add_bundle(verify)
    verify.add_argument("--json", action="store_true", help="print one JSON object")


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", metavar="DIR", help="bundle to use (default: $DERMEDGE_BUNDLE, else the newest under models/)"
    )


def _add_variant(parser: argparse.ArgumentParser) -> None:
    _add_bundle(parser)
    parser.add_argument("--engine", choices=ENGINE_CHOICES, default="auto", help="inference engine")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="precision of the backbone")
    parser.add_argument(
        "--views", type=int, choices=VIEW_COUNTS, default=1,
        help="test-time augmentation: average over this many turned and mirrored views, in as many times the time",
    )  # fmt: skip


def _add_patient(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--age", type=float, help="patient's age in years, for models that take it")
    parser.add_argument("--sex", help="patient's sex, for models that take it")
    parser.add_argument("--site", help="anatomical site, for models that take it")


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=OUTPUT_FORMATS, default="text", help="lines for people or for programs")
    parser.add_argument(
        "--json", dest="format", action="store_const", const="jsonl", help="one JSON object per image and line"
    )


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds of 0 or more, found {text}")
    return value
