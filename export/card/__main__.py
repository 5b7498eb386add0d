"""Evaluate a bundle on its test set and write its model card and report again.

python -m export.card --bundle models/ham10000-resnet18 --data data/ham10000

evaluates the bundle's graphs on the test images, stores the metrics as ``evaluation.json``, and rewrites card and
``report.html``. The manifest's checksums cover neither, so the graphs and the manifest stay as they were exported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_runtime.bundle.manifest import Manifest, read_manifest, verify_files
from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, parse_settings
from export.card.cross_validation import read_cross_validation
from export.card.text import read_report, write_card
from export.report.page import write_bundle_page


class CardConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of ``python -m export.card``."""

    bundle: Annotated[Path, Meta(description="the bundle", extra={"metavar": "DIR"})]
    data: Annotated[Path, Meta(description="data folder (default: the run's own)", extra={"metavar": "DIR"})] | None = (
        None
    )
    evaluation: Annotated[
        tuple[Path, ...],
        Meta(
            description="use these report.json of python -m train.evaluate --bundle instead of evaluating now",
            extra={"metavar": "FILE"},
        ),
    ] = ()
    cross_validation: (
        Annotated[Path, Meta(description="include this folder of python -m train --folds", extra={"metavar": "DIR"})]
        | None
    ) = None
    initialisation: (
        Annotated[
            str, Meta(description="description of the weights that training started from", extra={"metavar": "TEXT"})
        ]
        | None
    ) = None
    no_evaluation: Annotated[bool, Meta(description="rewrite card and report from what is already known")] = False
    runs_folder: Annotated[
        Path, Meta(description="where runs and the reports of evaluations are", extra={"metavar": "DIR"})
    ] = Path("runs")
    cache_folder: Annotated[Path, Meta(description="where decoded images are kept", extra={"metavar": "DIR"})] = Path(
        "data/cache"
    )


def read_flags(arguments: list[str] | None = None) -> CardConfiguration:
    """Return the configuration that the command line asks for; wrong usage exits with one line."""
    parser = OneLineParser(
        prog="python -m export.card",
        description="Evaluate a bundle's graphs on the test set and write its card and report again.",
        epilog="example: python -m export.card --bundle models/demo",
    )
    return parse_settings(parser, CardConfiguration, arguments)


def make_card(configuration: CardConfiguration) -> Path:
    """Evaluate where asked to, store the results, rewrite the bundle's report page and card; return the card's path."""
    from export.card.evaluations import store_evaluations  # needs the libraries of evaluation, --help does not

    bundle = configuration.bundle
    manifest, report = read_manifest(bundle), read_report(bundle)
    folder = configuration.cross_validation
    folds = read_cross_validation(folder, manifest) if folder else None
    reports = list(configuration.evaluation)
    if not reports and not configuration.no_evaluation:
        reports = _evaluate(configuration, manifest)
    if reports or configuration.initialisation or folds:
        store_evaluations(bundle, manifest, reports, configuration.initialisation, folds)
    write_bundle_page(bundle, manifest, report)
    return write_card(bundle, manifest, report)


def _evaluate(configuration: CardConfiguration, manifest: Manifest) -> list[Path]:
    from export.card.evaluations import evaluate_bundle
    from train.evaluation.configuration import EvaluationConfiguration

    verify_files(configuration.bundle, manifest)
    evaluation = EvaluationConfiguration(
        bundle=configuration.bundle,
        data=configuration.data,
        runs_folder=configuration.runs_folder,
        cache_folder=configuration.cache_folder,
    )
    return evaluate_bundle(evaluation, manifest)


def main() -> int:
    """Do as the command line says, and print where the card is."""
    print(f"card: {make_card(read_flags())}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
