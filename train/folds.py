"""Cross-validation in one command: ``python -m train --folds 5 …`` trains each fold and reports mean and deviation.

Each fold is an ordinary run in ``RUNS/NAME/fold-K``, so ``--resume`` goes on with whatever is unfinished. The summary
is ``folds.json``. Validation figures of the best epoch are a little flattering, as that epoch was chosen by them;
``--select last`` chooses nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from train.calibration import apply_temperature, fit_temperature
from train.checkpoint import build_checkpoint_model, load_checkpoint
from train.configuration import TrainingConfiguration, configuration_to_json
from train.device import choose_compute
from train.files import replacing, write_text_atomically
from train.metrics import expected_calibration_error, summary_metrics
from train.prepare import prepare_data
from train.run import train_run
from train.validation import predict_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoldsResult:
    """``folds`` holds each fold's figures on its validation part; ``mean`` and ``deviation`` are over the folds."""

    folder: Path
    folds: tuple[dict[str, float], ...]
    mean: dict[str, float]
    deviation: dict[str, float]


def train_folds(configuration: TrainingConfiguration, *, resume: bool = False) -> FoldsResult:
    """Train every fold of ``configuration.folds`` and write ``folds.json``."""
    folder = configuration.run_folder
    if not resume:
        write_text_atomically(folder / "config.json", configuration_to_json(configuration))
    rows = []
    for fold in range(configuration.folds or 1):
        one = dataclasses.replace(configuration, name=f"{configuration.name}/fold-{fold}", fold=fold)
        print(f"fold {fold + 1} of {configuration.folds}", flush=True)
        train_run(one, resume=resume and (one.run_folder / "last.pt").is_file())
        rows.append(judge_fold(one))
        print(", ".join(f"{name} {value:.4f}" for name, value in rows[-1].items()), flush=True)
    result = summarise(folder, rows)
    summary = {"folds": list(result.folds), "mean": result.mean, "standard_deviation": result.deviation}
    write_text_atomically(folder / "folds.json", json.dumps(summary, indent=2) + "\n")
    return result


def judge_fold(configuration: TrainingConfiguration) -> dict[str, float]:
    """Figures of a fold's ``best.pt`` on its validation part in fp32; keeps the answers in ``validation.npz``.

    Pictures are seen at the size the fold was trained at last: folds that stay small are cheap, and compare with each
    other. ``calibrated_error`` is the calibration error with a temperature that each half of the part got from the
    other.
    """
    data = prepare_data(configuration)
    dataset = data.dataset("validation")
    checkpoint = load_checkpoint(configuration.run_folder / "best.pt")
    compute = choose_compute(configuration.device, "fp32")
    model = build_checkpoint_model(checkpoint).to(compute.device)
    logits = predict_logits(model, dataset, compute, size=configuration.image_size_at(configuration.total_epochs - 1))
    with replacing(configuration.run_folder / "validation.npz") as temporary, temporary.open("wb") as file:
        ids = [data.records[index].image_id for index in data.split.indices(data.records, "validation")]
        np.savez(file, image_ids=np.array(ids), logits=logits, truth=dataset.labels)
    figures = summary_metrics(dataset.labels, apply_temperature(logits))
    return figures | {"calibrated_error": cross_fitted_error(logits, dataset.labels), "epoch": float(checkpoint.epoch)}


def cross_fitted_error(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Calibration error after temperature scaling, no picture judged with a temperature it had a part in."""
    probabilities = np.empty_like(logits)
    halves = np.arange(len(truth)) % 2
    for half in (0, 1):
        fitted = fit_temperature(logits[halves != half], truth[halves != half])
        probabilities[halves == half] = apply_temperature(logits[halves == half], fitted)
    return expected_calibration_error(truth, probabilities)


def summarise(folder: Path, rows: list[dict[str, float]]) -> FoldsResult:
    """Mean and sample standard deviation of each figure over the folds."""
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return FoldsResult(
        folder=folder,
        folds=tuple(rows),
        mean={name: float(column.mean()) for name, column in values.items()},
        deviation={name: float(column.std(ddof=1)) for name, column in values.items()},
    )
