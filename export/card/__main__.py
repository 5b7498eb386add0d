"""Evaluate a bundle on its test images and write its model card anew.

python -m export.card --bundle models/ham10000-resnet18 --data data/ham10000

evaluates the bundle's graphs on the test images, stores the metrics as ``evaluation.json``, and writes card and
``report.html`` anew. The manifest's checksum covers neither, so the graphs stay as they were signed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_runtime.bundle.manifest import read_manifest, verify_files
from edge_runtime.errors import run_command_line
from export.card.cross_validation import read_cross_validation
from export.card.text import read_report, write_card
from export.report.page import write_bundle_page


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        "python -m export.card",
        description="Judge a bundle's graphs on the held-out images and write its card and report anew.",
        epilog="example: python -m export.card --bundle models/demo",
        allow_abbrev=False,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the run's own)")
    parser.add_argument("--evaluation", type=Path, nargs="+", metavar="FILE",
        help="use these report.json of python -m train.evaluate --bundle instead of evaluating now")  # fmt: skip
    parser.add_argument("--cross-validation", type=Path, metavar="DIR",
        help="tell of this folder of python -m train --folds, too")  # fmt: skip
    parser.add_argument("--initialisation", metavar="TEXT", help="what to say of the weights training started from")
    parser.add_argument(
        "--no-evaluation", action="store_true", help="only write card and report anew from what is known"
    )
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), metavar="DIR",
        help="where runs and the evaluations' reports are (runs)")  # fmt: skip
    parser.add_argument("--cache-folder", type=Path, default=Path("data/cache"), metavar="DIR",
        help="decoded images (data/cache)")  # fmt: skip
    return parser


def main() -> int:
    """Do as the command line says, and print where the card is."""
    flags = build_parser().parse_args()
    manifest, report = read_manifest(flags.bundle), read_report(flags.bundle)
    from export.card.held_out import evaluate_bundle, store_evaluations

    folds = read_cross_validation(flags.cross_validation, manifest) if flags.cross_validation else None
    reports = flags.evaluation or []
    if not reports and not flags.no_evaluation:
        verify_files(flags.bundle, manifest)
        folders = ["--runs-folder", str(flags.runs_folder), "--cache-folder", str(flags.cache_folder)]
        reports = evaluate_bundle(flags.bundle, manifest, flags.data, folders)
    if reports or flags.initialisation or folds:
        store_evaluations(flags.bundle, manifest, reports, flags.initialisation, folds)
    write_bundle_page(flags.bundle, manifest, report)
    print(f"card: {write_card(flags.bundle, manifest, report)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
