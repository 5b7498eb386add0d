"""The files of an evaluation's folder, which appears complete or not at all; an older report is replaced."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import DataError
from train.evaluation.data import EvaluationData
from train.evaluation.subject import Subject
from train.evaluation.submission import write_submission
from train.metrics.classification import class_metrics, confusion_matrix
from train.report.gallery import choose_cases, make_cases, render_gallery
from train.report.page import render_page
from train.report.plots import plot_confusion_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_report_folder(
    output: Path,
    subject: Subject,
    data: EvaluationData,
    metrics: dict[str, Any],
    probabilities: NDArray[np.float64],
    *,
    gallery: int,
) -> Path:
    """Write all files of the report into ``output`` and return it. Raises :class:`DataError` for a foreign folder.

    ``metrics`` is the tree of :func:`train.report.metrics_tree.build_metrics`, ``probabilities`` is (N, C); ``gallery``
    is how many correct and how many wrong predictions are shown.
    """
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as partial:
        folder = Path(partial) / "new"
        folder.mkdir()
        _write_tables(folder, data, metrics, probabilities)
        chosen = choose_cases(data.truth, probabilities, gallery, gallery)
        correct, wrong = (make_cases(subject, data, probabilities, positions) for positions in chosen)
        render_gallery(correct, wrong).save(folder / "gallery.png")
        (folder / "report.html").write_text(render_page(metrics, correct, wrong), encoding="utf-8")
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return output


def _write_tables(
    folder: Path, data: EvaluationData, metrics: dict[str, Any], probabilities: NDArray[np.float64]
) -> None:
    codes = data.classes.codes
    matrix = confusion_matrix(data.truth, probabilities.argmax(axis=1), len(codes))
    (folder / "report.json").write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_class_table(folder / "per_class.csv", data.truth, probabilities, codes)
    write_confusion_matrix(folder / "confusion_matrix.csv", matrix, codes)
    write_predictions(folder / "predictions.csv", data, probabilities)
    image_ids = [record.image_id for record in data.records]
    write_submission(folder / "isic_submission.csv", image_ids, probabilities, data.classes)
    (folder / "confusion_matrix.png").write_bytes(plot_confusion_matrix(matrix, codes, "png"))


def check_output(output: Path) -> None:
    """Refuse to replace a folder that holds anything but a report. Raises :class:`DataError`."""
    if not output.exists():
        return
    if not output.is_dir() or (any(output.iterdir()) and not (output / "predictions.csv").is_file()):
        raise DataError(f"{output}: expected a new folder or an older report, found other files")


def write_class_table(
    path: Path, truth: NDArray[np.int64], probabilities: NDArray[np.float64], codes: Sequence[str]
) -> None:
    """Write one row per class: support, precision, sensitivity (recall), F1, specificity, AUC, average precision."""
    names = ("support", "precision", "sensitivity", "f1", "specificity", "auc", "average_precision")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("class", *names))
        for one in class_metrics(truth, probabilities, codes):
            writer.writerow((one.code, *(getattr(one, name) for name in names)))


def write_confusion_matrix(path: Path, matrix: NDArray[np.int64], codes: Sequence[str]) -> None:
    """Write the counts with a header: rows are the truth, columns the predictions."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("truth", *codes))
        for code, row in zip(codes, matrix.tolist(), strict=True):
            writer.writerow((code, *row))


def write_predictions(path: Path, data: EvaluationData, probabilities: NDArray[np.float64]) -> None:
    """Write one row per image: id, lesion, truth, predicted label, and the probability of every class."""
    codes = data.classes.codes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "lesion", "truth", "label", *codes))
        for record, row in zip(data.records, probabilities, strict=True):
            label = codes[int(row.argmax())]
            writer.writerow((record.image_id, record.lesion_id, codes[record.label], label, *row.tolist()))
