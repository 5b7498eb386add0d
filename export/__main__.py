"""The export's command line.

python -m export --checkpoint runs/demo/best.pt --output models/demo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_runtime.errors import run_command_line
from export.configuration import (
    DEFAULT_PRECISIONS,
    FORMATS,
    PRECISIONS,
    TFLITE_ROUTES,
    ExportConfiguration,
    Tolerances,
)

DESCRIPTION = """\
Turn a checkpoint into a bundle: ONNX and TFLite graphs of features, head, explain and the whole model, checked against
PyTorch on the validation images. Ends with the parity table; exits non-zero, with nothing written, when a tolerance
is broken."""

EXAMPLE = "example: python -m export --checkpoint runs/demo/best.pt --output models/demo --precisions fp32 int8 fp16"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its defaults are those of :class:`ExportConfiguration`."""
    parser = argparse.ArgumentParser("python -m export", description=DESCRIPTION, epilog=EXAMPLE, allow_abbrev=False)
    add, default = parser.add_argument, ExportConfiguration(Path(), Path())
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="checkpoint in its run folder (best.pt)")
    add("--output", type=Path, required=True, metavar="FOLDER", help="bundle to write; an old one is replaced")
    add("--data", type=Path, metavar="FOLDER", help="data folder (default: the one named in the run's data.json)")
    add("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help=f"default: {' '.join(FORMATS)}")
    add("--precisions", nargs="+", choices=PRECISIONS, default=list(DEFAULT_PRECISIONS),
        help=f"fp32 is always among them (default: {' '.join(DEFAULT_PRECISIONS)})")  # fmt: skip
    add("--calibration-images", type=int, default=default.calibration_images, metavar="N",
        help="training images that int8 ranges are measured on (default: %(default)s)")  # fmt: skip
    add("--selection-images", type=int, default=default.selection_images, metavar="N",
        help="other training images that choose the int8 recipe (default: %(default)s)")  # fmt: skip
    add("--validation-images", type=int, metavar="N", help="judge by N validation images only (default: all)")
    add("--calibrator", choices=("auto", "min-max", "percentile", "mse", "entropy"), default=default.calibrator,
        help="how int8 ranges are chosen; auto compares all (default: %(default)s)")  # fmt: skip
    add("--int8-goal", type=float, default=default.int8_goal, metavar="NATS",
        help="while the answers diverge more than this, costlier recipes are tried (default: %(default)s)")  # fmt: skip
    add("--qat", action="store_true",
        help="where no recipe reaches the goal, fine-tune the weights for int8 and try again")  # fmt: skip
    add("--qat-steps", type=int, default=default.qat_steps, metavar="N",
        help="batches of 16 calibration images to fine-tune on (default: %(default)s)")  # fmt: skip
    add("--tflite-via", choices=TFLITE_ROUTES, default=default.tflite_via,
        help="converter of the TFLite files; for onnx2tf `make setup-onnx2tf` once (default: %(default)s)")  # fmt: skip
    add("--compare-tflite-routes", action="store_true",
        help="convert by the other route too, and put both routes' figures into report.json")  # fmt: skip
    add("--compact", action="store_true",
        help="after measuring, keep only what the int8 variants need: about 23 MB for resnet18")  # fmt: skip
    add("--threads", type=int, default=2, metavar="N", help="processor threads (default: %(default)s)")
    for name, value in vars(Tolerances()).items():
        flag = f"--tolerance-{name.replace('_', '-')}"
        add(flag, type=type(value), default=value, metavar="X", help="gate (default: %(default)s)")
    return parser


def configuration_from(arguments: argparse.Namespace) -> ExportConfiguration:
    """Return the configuration that parsed arguments ask for."""
    values = vars(arguments).copy()
    tolerances = {name: values.pop(f"tolerance_{name}") for name in vars(Tolerances())}
    values["formats"] = tuple(name for name in FORMATS if name in values["formats"])
    values["precisions"] = tuple(name for name in PRECISIONS if name in {*values["precisions"], "fp32"})
    return ExportConfiguration(**values, tolerances=Tolerances(**tolerances))


def main() -> int:
    """Parse the command line, export, and print the parity table."""
    configuration = configuration_from(build_parser().parse_args())
    from export.pipeline import run_export  # torch and the converters are not needed for --help
    from export.report.data import parity_table

    outcome = run_export(configuration)
    print(parity_table(outcome.manifest, outcome.measurements))
    for format_name, scores in outcome.measurements.int8_scores.items():
        best = min(scores, key=lambda score: score.divergence)
        print(f"{format_name} int8: {best.recipe} (best of {len(scores)} on held-out training images)")
    print(f"bundle: {configuration.output}")
    seconds = ", ".join(f"{step} {duration:.0f} s" for step, duration in outcome.seconds.items())
    print(f"done: {seconds}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
