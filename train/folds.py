"""Cross-validation in one command: ``python -m train --folds 5 …`` trains each fold and reports the mean and standard
deviation.

Each fold is an ordinary run in ``RUNS/NAME/fold-K``, so ``--resume`` continues with whatever is unfinished. The
summary is ``folds.json``: each fold's metrics, their mean and standard deviation, and the metrics of all out-of-fold
predictions pooled, with intervals. Validation metrics of the best epoch are slightly optimistically biased, since
that epoch was chosen by them; ``--select last`` chooses nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_runtime.bundle.classes import ClassSet
from train.configuration import TrainingConfiguration, configuration_to_json
from train.data.prepare import prepare_data
from train.files import replacing, write_text_atomically
from train.learning.device import choose_compute
from train.learning.validation import predict_logits
from train.metrics.classification import expected_calibration_error, summary_metrics
from train.metrics.intervals import Interval, bootstrap_intervals
from train.metrics.temperature import apply_temperature, fit_temperature
from train.model.checkpoint import build_checkpoint_model, load_checkpoint
from train.run import train_run

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoldsResult:
    """``folds`` holds each fold's metrics on its validation set; ``mean`` and ``deviation`` are over the folds.

    ``pooled`` are the metrics of all validation images, each predicted by the fold that was not trained on it.
    """

    folder: Path
    folds: tuple[dict[str, float], ...]
    mean: dict[str, float]
    deviation: dict[str, float]
    pooled: dict[str, Interval]


@dataclass(frozen=True)
class FoldPredictions:
    """A fold's predictions on its validation set: truth int64 (N,), calibrated probabilities float64 (N, C)."""

    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    lesions: tuple[str, ...]
    classes: ClassSet


def train_folds(configuration: TrainingConfiguration, *, resume: bool = False) -> FoldsResult:
    """Train every fold of ``configuration.folds`` and write ``folds.json``."""
    folder = configuration.run_folder
    if not resume:
        write_text_atomically(folder / "config.json", configuration_to_json(configuration))
    rows, predictions = [], []
    for fold in range(configuration.folds or 1):
        one = msgspec.structs.replace(configuration, name=f"{configuration.name}/fold-{fold}", fold=fold)
        print(f"fold {fold + 1} of {configuration.folds}", flush=True)
        train_run(one, resume=resume and (one.run_folder / "last.pt").is_file())
        metrics, predicted = evaluate_fold(one)
        rows.append(metrics)
        predictions.append(predicted)
        print(", ".join(f"{name} {value:.4f}" for name, value in rows[-1].items()), flush=True)
    result = summarise(folder, rows, predictions)
    defined = {name: one for name, one in result.pooled.items() if np.isfinite([one.value, one.low, one.high]).all()}
    summary = {
        "data_fingerprint": load_checkpoint(folder / "fold-0" / "best.pt").data_fingerprint,
        "fold_by": configuration.fold_by,
        "images": sum(len(one.truth) for one in predictions),
        "folds": list(result.folds),
        "mean": result.mean,
        "standard_deviation": result.deviation,
        "pooled": {name: dataclasses.asdict(one) for name, one in defined.items()},
    }
    write_text_atomically(folder / "folds.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return result


def evaluate_fold(configuration: TrainingConfiguration) -> tuple[dict[str, float], FoldPredictions]:
    """Metrics and predictions of a fold's ``best.pt`` on its validation set, in fp32; writes ``validation.npz``.

    Images are seen at the size the fold was trained at last: folds that stay small are cheap, and comparable with
    each other. ``expected_calibration_error_after_scaling`` is the calibration error with the temperature of each half
    of the images fitted on the other, as in the returned predictions.
    """
    data = prepare_data(configuration)
    dataset = data.dataset("validation")
    checkpoint = load_checkpoint(configuration.run_folder / "best.pt")
    compute = choose_compute(configuration.device, "fp32")
    model = build_checkpoint_model(checkpoint).to(compute.device)
    logits = predict_logits(
        model,
        dataset,
        compute,
        size=configuration.image_size_at(configuration.total_epochs - 1),
        classes=len(data.classes),
    )
    records = [data.records[index] for index in data.split.indices(data.records, "validation")]
    with replacing(configuration.run_folder / "validation.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, image_ids=np.array([one.image_id for one in records]), logits=logits, truth=dataset.labels)
    predictions = FoldPredictions(
        dataset.labels,
        cross_fitted(logits, dataset.labels),
        tuple(record.lesion_id for record in records),
        data.classes,
    )
    metrics = summary_metrics(dataset.labels, apply_temperature(logits))
    metrics["expected_calibration_error_after_scaling"] = expected_calibration_error(
        dataset.labels, predictions.probabilities
    )
    for index, code in enumerate(data.classes.codes):
        if np.any(dataset.labels == index):
            metrics[f"sensitivity/{code}"] = float((logits[dataset.labels == index].argmax(axis=1) == index).mean())
    return metrics | {"epoch": float(checkpoint.epoch)}, predictions


def cross_fitted(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities after temperature scaling, each image's temperature fitted without it."""
    probabilities = np.empty_like(logits)
    halves = np.arange(len(truth)) % 2
    for half in (0, 1):
        fitted = fit_temperature(logits[halves != half], truth[halves != half])
        probabilities[halves == half] = apply_temperature(logits[halves == half], fitted)
    return probabilities


def summarise(folder: Path, rows: list[dict[str, float]], predictions: list[FoldPredictions]) -> FoldsResult:
    """Mean and sample standard deviation of what every fold has, and the metrics of all predictions pooled."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    values = {name: np.array([row[name] for row in rows]) for name in names}
    return FoldsResult(
        folder=folder,
        folds=tuple(rows),
        mean={name: float(column.mean()) for name, column in values.items()},
        deviation={name: float(column.std(ddof=1)) for name, column in values.items()},
        pooled=bootstrap_intervals(
            np.concatenate([one.truth for one in predictions]),
            np.concatenate([one.probabilities for one in predictions]),
            [lesion for one in predictions for lesion in one.lesions],
            predictions[0].classes,
        ),
    )
