"""Evaluate a checkpoint or a bundle on images it was not trained on, and write a report.

python -m train.evaluate --run demo
python -m train.evaluate --bundle models/demo --engine tflite --precision int8
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.classifier import DEMO_WARNING
from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings
from train.evaluation.configuration import EvaluationConfiguration
from train.evaluation.data import SUBSET_NAMES, read_evaluation_data
from train.evaluation.outliers import measure_outliers
from train.evaluation.robustness import measure_robustness
from train.evaluation.subject import BundleSubject, CheckpointSubject, Subject, predict_all
from train.evaluation.submission import challenge_columns
from train.evaluation.tta import AugmentedSubject
from train.metrics.temperature import apply_temperature
from train.model.bundle_weights import find_weights
from train.report.files import check_output, write_report_folder
from train.report.metrics_tree import build_metrics, plain
from train.report.text import describe_metrics

EXAMPLE = """example:
  python -m train.evaluate --run demo
  python -m train.evaluate --bundle models/demo --engine tflite --precision int8 --split test
"""


def evaluate(configuration: EvaluationConfiguration) -> Path:
    """Evaluate as configured, print the classification report, write the report's folder and return it."""
    subject = load_subject(configuration)
    data = read_evaluation_data(
        subject.facts,
        configuration.data,
        configuration.subset,
        split_file=configuration.split_file,
        runs=configuration.runs_folder,
        cache=configuration.cache_folder,
    )
    output = configuration.output or _default_output(subject, configuration)
    check_output(output)  # before the work, not after it
    logits = predict_all(subject, data.images, data.records)
    probabilities = apply_temperature(logits)
    print(f"{subject.facts.title}\n{len(data.records)} images, {SUBSET_NAMES[data.subset]} of {data.folder}\n")
    if subject.facts.demo or data.demo:
        print(DEMO_WARNING + "\n")
    print(describe_metrics(data.truth, probabilities, data.classes))
    metrics = build_metrics(subject.facts, data, logits, replicates=configuration.replicates)
    metrics["views"] = configuration.views
    metrics["outliers"] = plain(measure_outliers(subject, data))
    if configuration.corruption_images:
        metrics["corruptions"] = measure_robustness(subject, data, configuration.corruption_images)
    write_report_folder(output, subject, data, metrics, probabilities, gallery=configuration.gallery)
    challenge = ", challenge file isic_submission.csv" if challenge_columns(data.classes) else ""
    print(f"\nreport: {output / 'report.html'} (metrics in report.json{challenge})")
    return output


def load_subject(configuration: EvaluationConfiguration) -> Subject:
    """Load the checkpoint or the bundle. Raises a :class:`DermedgeError` naming what is wrong with it."""
    if configuration.bundle is not None:
        bundle, threads = configuration.bundle, configuration.threads
        variants = read_manifest(bundle).variants
        if configuration.precision == "fp32" and not any(name.endswith("-fp32") for name in variants):
            return _with_views(CheckpointSubject(find_weights(bundle)), configuration.views)
        return BundleSubject(bundle, configuration.engine, configuration.precision, threads, configuration.views)
    return _with_views(CheckpointSubject(configuration.checkpoint_path()), configuration.views)


def _with_views(subject: Subject, views: int) -> Subject:
    return AugmentedSubject(subject, views) if views > 1 else subject


def _default_output(subject: Subject, configuration: EvaluationConfiguration) -> Path:
    if configuration.bundle is None:
        return subject.facts.source.parent / f"evaluation-{configuration.subset}"
    variant = subject.facts.details.get("variant", "weights")
    return configuration.runs_folder / f"evaluation-{configuration.bundle.name}-{variant}-{configuration.subset}"


def read_flags(arguments: list[str] | None = None) -> EvaluationConfiguration:
    """Return the configuration that the command line asks for; wrong usage exits with one line."""
    parser = OneLineParser(
        prog="python -m train.evaluate",
        description="Evaluate a checkpoint or a bundle, print the classification report and write a report folder.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, EvaluationConfiguration)
    values = given_flags(EvaluationConfiguration, parser.parse_args(arguments))
    named = [f"--{name}" for name in ("run", "checkpoint", "bundle") if name in values]
    if len(named) > 1:
        parser.error(f"expected one of --run, --checkpoint and --bundle, found {' and '.join(named)}")
    return make_settings(EvaluationConfiguration, values)


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as the command line says."""
    evaluate(read_flags(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
