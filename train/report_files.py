"""The files of an evaluation's folder; the folder appears whole or not at all, an older report is replaced."""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.classes import CLASS_CODES
from edge_runtime.errors import DataError
from train.evaluation_data import EvaluationData
from train.gallery import choose_cases, make_cases, render_gallery
from train.metrics import class_metrics, confusion_matrix
from train.report_plots import plot_confusion_matrix
from train.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_report_folder(
    output: Path, subject: Subject, data: EvaluationData, probabilities: NDArray[np.float64], *, gallery: int
) -> Path:
    """Write all files of the report into ``output`` and return it. Raises :class:`DataError` for a foreign folder."""
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as partial:
        folder = Path(partial) / "new"
        folder.mkdir()
        matrix = confusion_matrix(data.truth, probabilities.argmax(axis=1))
        write_class_table(folder / "per_class.csv", data.truth, probabilities)
        write_confusion_matrix(folder / "confusion_matrix.csv", matrix)
        write_predictions(folder / "predictions.csv", data, probabilities)
        (folder / "confusion_matrix.png").write_bytes(plot_confusion_matrix(matrix, "png"))
        right, wrong = choose_cases(data.truth, probabilities, gallery, gallery)
        right_cases = make_cases(subject, data, probabilities, right)
        wrong_cases = make_cases(subject, data, probabilities, wrong)
        render_gallery(right_cases, wrong_cases).save(folder / "gallery.png")
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return output


def check_output(output: Path) -> None:
    """Refuse to replace a folder that is not a report of ours. Raises :class:`DataError`."""
    if not output.exists():
        return
    if not output.is_dir() or (any(output.iterdir()) and not (output / "predictions.csv").is_file()):
        raise DataError(f"{output}: expected a new folder or an older report, found other files")


def write_class_table(path: Path, truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
    """Write one row per class: support, precision, sensitivity (recall), F1, specificity, AUC, average precision."""
    names = ("support", "precision", "sensitivity", "f1", "specificity", "auc", "average_precision")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("class", *names))
        for one in class_metrics(truth, probabilities):
            writer.writerow((one.code, *(getattr(one, name) for name in names)))


def write_confusion_matrix(path: Path, matrix: NDArray[np.int64]) -> None:
    """Write the counts with a header: rows are the truth, columns the answers."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("truth", *CLASS_CODES))
        for code, row in zip(CLASS_CODES, matrix.tolist(), strict=True):
            writer.writerow((code, *row))


def write_predictions(path: Path, data: EvaluationData, probabilities: NDArray[np.float64]) -> None:
    """Write one row per picture: id, lesion, truth, answer, and the probability of every class."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "lesion", "truth", "label", *CLASS_CODES))
        for record, row in zip(data.records, probabilities, strict=True):
            label = CLASS_CODES[int(row.argmax())]
            writer.writerow((record.image_id, record.lesion_id, CLASS_CODES[record.label], label, *row.tolist()))
