"""The export's command line.

python -m export --checkpoint runs/demo/best.pt --output models/demo
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import msgspec

from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings
from export.configuration import ExportConfiguration, ExportSettings, Tolerances

DESCRIPTION = """\
Turn a checkpoint into a bundle: ONNX and TFLite graphs of features, head, explain and the whole model, checked against
PyTorch on the validation images. Ends with the parity table. When a graph breaks a tolerance, the exit status is 1 and
no bundle is written."""

EXAMPLE = "example: python -m export --checkpoint runs/demo/best.pt --output models/demo --precisions fp32 int8 fp16"


def build_parser() -> OneLineParser:
    """Return the parser, whose flags are the fields of :class:`ExportSettings` and :class:`Tolerances`."""
    parser = OneLineParser("python -m export", description=DESCRIPTION, epilog=EXAMPLE)
    add_flags(parser, ExportSettings)
    add_flags(parser.add_argument_group("tolerances", "How far a graph may be from PyTorch."), Tolerances)
    return parser


def configuration_from(namespace: Namespace) -> ExportConfiguration:
    """Return the configuration that parsed flags ask for."""
    settings = make_settings(ExportSettings, given_flags(ExportSettings, namespace))
    tolerances = make_settings(Tolerances, given_flags(Tolerances, namespace))
    return ExportConfiguration(**msgspec.structs.asdict(settings), tolerances=tolerances)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, export, and print the parity table."""
    configuration = configuration_from(build_parser().parse_args(arguments))
    from export.pipeline import run_export  # torch and the converters are not needed for --help
    from export.report.data import parity_table

    outcome = run_export(configuration)
    print(parity_table(outcome.manifest, outcome.measurements))
    for format_name, scores in outcome.measurements.int8_scores.items():
        best = min(scores, key=lambda score: score.divergence)
        print(f"{format_name} int8: {best.recipe} (best of {len(scores)} on the selection images)")
    print(f"bundle: {configuration.output}")
    seconds = ", ".join(f"{step} {duration:.0f} s" for step, duration in outcome.seconds.items())
    print(f"done: {seconds}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
