"""The device's command line: ``python -m edge_runtime predict|bench|info``.

    python -m edge_runtime predict lesion.jpg --explain maps/ --json

Exit status: 0 all answered; 1 something could not be read or loaded; 2 wrong usage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

PRECISIONS = ("int8", "fp32")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the command; returns the exit status."""
    options = build_parser().parse_args(arguments)
    # Each command is imported when it is asked for, so that `predict` does not pay for `bench`.
    if options.command == "predict":
        from edge_runtime.command_predict import run_predict

        return run_predict(options)
    if options.command == "bench":
        from edge_runtime.command_bench import run_bench

        return run_bench(options)
    from edge_runtime.command_info import run_info

    return run_info(options)


class _OneLineParser(argparse.ArgumentParser):
    """Reports wrong usage in one line, as all errors of this project."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the tests hold the documentation against it."""
    parser = _OneLineParser(
        prog="python -m edge_runtime",
        description="Classify pictures of skin lesions on this device. Research software, not a medical device.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_OneLineParser)
    predict = commands.add_parser(
        "predict",
        help="classify pictures",
        description="Classify pictures, and all pictures of folders.",
        epilog="example: python -m edge_runtime predict lesion.jpg more/ --engine tflite --explain maps/",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="picture files, folders, or - for stdin")
    _add_bundle(predict)
    predict.add_argument("--engine", choices=("auto", "onnx", "tflite"), default="auto", help="inference engine")
    predict.add_argument("--precision", choices=PRECISIONS, default="int8", help="precision of the trunk")
    predict.add_argument("--explain", metavar="OUT_DIR", help="write each picture's Grad-CAM overlay into this folder")
    predict.add_argument("--threads", type=_positive, metavar="N", help="processors to use (default: all)")
    predict.add_argument("--age", type=float, help="patient's age in years, for models that take it")
    predict.add_argument("--sex", help="patient's sex, for models that take it")
    predict.add_argument("--site", help="anatomical site, for models that take it")
    predict.add_argument("--json", action="store_true", help="one JSON object per picture and line")

    bench = commands.add_parser(
        "bench",
        help="measure speed on this device",
        description="Time the bare engine, decode-to-answer, and answer with map, for every variant, in turns.",
        epilog="example: python -m edge_runtime bench --threads 1",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_bundle(bench)
    bench.add_argument("--threads", type=_positive, default=1, metavar="N", help="the engine's threads")
    bench.add_argument("--rounds", type=_positive, default=60, metavar="N", help="measured rounds; medians are printed")
    bench.add_argument("--json", action="store_true", help="print one JSON object")

    info = commands.add_parser(
        "info",
        help="check a bundle and show what it is",
        description="Verify every file of a bundle against its manifest and print the manifest's main facts.",
        epilog="example: python -m edge_runtime info --bundle models/demo",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_bundle(info)
    info.add_argument("--json", action="store_true", help="print the manifest as JSON, after verifying it")
    return parser


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", metavar="DIR", help="bundle to use (default: $DERMEDGE_BUNDLE, else the newest under models/)"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return value
