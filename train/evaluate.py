"""Evaluate a checkpoint or a bundle on images it did not learn from, and write a report.

python -m train.evaluate --run demo
python -m train.evaluate --bundle models/demo --engine tflite --precision int8
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import classification_report
from tqdm import tqdm

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.classifier import DEMO_WARNING
from edge_runtime.errors import DataError, run_command_line
from edge_runtime.imaging.views import VIEW_COUNTS
from edge_runtime.settings import OneLineParser
from edge_runtime.vocabulary import ENGINE_CHOICES
from train.evaluation.data import EvaluationData, read_evaluation_data
from train.evaluation.outliers import measure_outliers
from train.evaluation.robustness import measure_robustness
from train.evaluation.subject import BundleSubject, CheckpointSubject, Subject
from train.evaluation.tta import AugmentedSubject
from train.metrics.classification import summary_metrics
from train.metrics.intervals import REPLICATES
from train.metrics.temperature import apply_temperature
from train.report.files import check_output, write_report_folder
from train.report.metrics_tree import build_figures, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISIONS = ("int8", "fp32", "fp16", "dynamic")
CHUNK = 64
"""Images between two steps of the progress bar."""

EXAMPLE = """example:
  python -m train.evaluate --run demo
  python -m train.evaluate --bundle models/demo --engine tflite --precision int8 --split test
"""


@dataclass(frozen=True)
class EvaluationConfiguration:
    """What to evaluate, on what, and where the report goes."""

    checkpoint: Path | None
    bundle: Path | None
    engine: str
    precision: str
    threads: int | None
    data: Path | None
    subset: str
    split_file: Path | None
    output: Path | None
    runs: Path
    cache: Path
    gallery: int
    replicates: int
    corruption_images: int
    views: int


def load_subject(configuration: EvaluationConfiguration) -> Subject:
    """Load the checkpoint or the bundle. Raises a :class:`DermedgeError` naming what is wrong with it."""
    if configuration.bundle is not None:
        bundle, threads = configuration.bundle, configuration.threads
        return BundleSubject(bundle, configuration.engine, configuration.precision, threads, configuration.views)
    assert configuration.checkpoint is not None
    subject = CheckpointSubject(configuration.checkpoint)
    return AugmentedSubject(subject, configuration.views) if configuration.views > 1 else subject


def answer_all(subject: Subject, data: EvaluationData, what: str = "answering") -> NDArray[np.float64]:
    """Return the calibrated logits of all images, float64 (N, C), with a progress bar."""
    rows = []
    with tqdm(total=len(data.records), desc=what, unit="image", leave=False, disable=None) as bar:
        for start in range(0, len(data.records), CHUNK):
            part = slice(start, start + CHUNK)
            rows.append(subject.answer(data.images[part], data.records[part]))
            bar.update(len(rows[-1]))
    return np.concatenate(rows)


def evaluate(configuration: EvaluationConfiguration) -> Path:
    """Evaluate as configured, print the classification report, write the report's folder and return it."""
    subject = load_subject(configuration)
    data = read_evaluation_data(
        subject.facts,
        configuration.data,
        configuration.subset,
        split_file=configuration.split_file,
        runs=configuration.runs,
        cache=configuration.cache,
    )
    output = configuration.output or _default_output(subject, configuration)
    check_output(output)  # before the work, not after it
    logits = answer_all(subject, data)
    probabilities = apply_temperature(logits)
    print(f"{subject.facts.title}\n{len(data.records)} images, {data.subset} subset of {data.folder}\n")
    if subject.facts.demo or data.demo:
        print(DEMO_WARNING + "\n")
    print(describe(data.truth, probabilities))
    figures = build_figures(subject.facts, data, logits, replicates=configuration.replicates)
    figures["views"] = configuration.views
    figures["outliers"] = plain(measure_outliers(subject, data))
    if configuration.corruption_images:
        figures["corruptions"] = measure_robustness(subject, data, configuration.corruption_images)
    write_report_folder(output, subject, data, figures, probabilities, gallery=configuration.gallery)
    print(f"\nreport: {output / 'report.html'} (figures in report.json, challenge file isic_submission.csv)")
    return output


def describe(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> str:
    """Return scikit-learn's classification report and the project's summary figures as text."""
    table = classification_report(
        truth,
        probabilities.argmax(axis=1),
        labels=range(len(CLASS_CODES)),
        target_names=CLASS_CODES,
        digits=3,
        zero_division=0,
    )
    figures = summary_metrics(truth, probabilities)
    lines = [f"{name.replace('_', ' '):>28} {value:.3f}" for name, value in figures.items()]
    return table + "\n" + "\n".join(lines)


def _default_output(subject: Subject, configuration: EvaluationConfiguration) -> Path:
    if configuration.bundle is None:
        return subject.facts.source.parent / f"evaluation-{configuration.subset}"
    variant = subject.facts.details["variant"]
    return configuration.runs / f"evaluation-{subject.facts.source.name}-{variant}-{configuration.subset}"


def read_flags(arguments: list[str] | None = None) -> EvaluationConfiguration:
    """Return the configuration that the command line asks for. Raises :class:`DataError`."""
    parser = OneLineParser(
        prog="python -m train.evaluate",
        description="Evaluate a checkpoint or a bundle, print the classification report and write a report folder.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--run", metavar="NAME", help="the run's best checkpoint (default: the last run)")
    subject.add_argument("--checkpoint", type=Path, metavar="FILE", help="this checkpoint")
    subject.add_argument("--bundle", type=Path, metavar="DIR", help="this bundle, run as on the device")
    parser.add_argument("--engine", default="auto", choices=ENGINE_CHOICES, help="for --bundle (auto)")
    parser.add_argument("--precision", default="int8", choices=PRECISIONS, help="for --bundle (int8)")
    parser.add_argument("--threads", type=int, metavar="N", help="for --bundle: the engine's threads (all)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the run's own)")
    subsets = ("test", "validation", "train", "all")
    parser.add_argument("--split", dest="subset", default="test", choices=subsets, help="which subset (test)")
    parser.add_argument("--split-file", type=Path, metavar="FILE", help="split.csv to use instead of the run's")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the report (beside the checkpoint)")
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), metavar="DIR", help="where runs are (runs)")
    parser.add_argument(
        "--cache-folder", type=Path, default=Path("data/cache"), metavar="DIR", help="decoded images (data/cache)"
    )
    parser.add_argument("--gallery", type=int, default=12, metavar="N", help="right and wrong cases to show (12 each)")
    parser.add_argument("--bootstrap", type=int, default=REPLICATES, metavar="N", help=f"replicates ({REPLICATES})")
    parser.add_argument(
        "--corruption-images", type=int, default=200, metavar="N", help="images to corrupt, 0 for none (200)"
    )
    parser.add_argument(
        "--tta", dest="views", metavar="N", type=int, nargs="?", default=1, const=max(VIEW_COUNTS), choices=VIEW_COUNTS,
        help="average over N turned and mirrored views: 4 or 8 (without this flag 1; without a number 8)",
    )  # fmt: skip
    flags = parser.parse_args(arguments)
    for name, lowest in (("gallery", 0), ("bootstrap", 1), ("corruption_images", 0)):
        if getattr(flags, name) < lowest:
            flag = "--" + name.replace("_", "-")
            raise DataError(f"{flag}: expected {lowest} or more, found {getattr(flags, name)}")
    checkpoint = None
    if flags.bundle is None:
        checkpoint = flags.checkpoint or flags.runs_folder / (flags.run or _last_run(flags.runs_folder)) / "best.pt"
    return EvaluationConfiguration(
        checkpoint=checkpoint,
        bundle=flags.bundle,
        engine=flags.engine,
        precision=flags.precision,
        threads=flags.threads,
        data=flags.data,
        subset=flags.subset,
        split_file=flags.split_file,
        output=flags.output,
        runs=flags.runs_folder,
        cache=flags.cache_folder,
        gallery=flags.gallery,
        replicates=flags.bootstrap,
        corruption_images=flags.corruption_images,
        views=flags.views,
    )


def _last_run(runs: Path) -> str:
    try:
        return (runs / "latest").read_text(encoding="utf-8").strip()
    except OSError:
        raise DataError(f"{runs / 'latest'}: found no run yet; say --run, --checkpoint or --bundle") from None


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as the command line says."""
    evaluate(read_flags(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
