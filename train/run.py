"""One run from its configuration to its folder: prepare the data, build the learner, fit, and save the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from train.calibration.fit import calibrate_run
from train.configuration import TrainingConfiguration
from train.data.prepare import fit_subsets, prepare_data
from train.data.report import describe
from train.learning.distribution import Workers, joined_workers
from train.learning.learner import make_learner
from train.learning.loop import Progress, fit
from train.run_folder import read_progress, save_progress, start_folder


@dataclass(frozen=True)
class RunResult:
    """Where a finished run's outputs are, and the validation metrics of the best epoch."""

    folder: Path
    best_epoch: int
    metrics: dict[str, float]
    is_first_worker: bool = True


def train_run(configuration: TrainingConfiguration, *, resume: bool = False) -> RunResult:
    """Train as configured into ``configuration.run_folder``; under torchrun, together with the other workers.

    Raises a :class:`DermedgeError` for users' mistakes and :class:`train.learning.loop.Interrupted` when asked to stop.
    """
    if configuration.threads is not None:
        torch.set_num_threads(configuration.threads)
    with joined_workers() as workers:
        return _train(configuration, workers, resume=resume)


def _train(configuration: TrainingConfiguration, workers: Workers, *, resume: bool) -> RunResult:
    folder = configuration.run_folder
    with workers.first_goes_first():
        data = prepare_data(configuration)
    training, validation = data.dataset(*fit_subsets(configuration)), data.dataset("validation")
    progress, state = read_progress(configuration, data) if resume else (Progress(), None)
    learner = make_learner(configuration, training.labels, data.classes, data.metadata_spec, workers, state)
    if workers.is_first:
        if not resume:
            start_folder(configuration, data)
        print(describe(data.report))
        print(f"{len(training)} images to learn from, {len(validation)} to validate on")
        print(f"{configuration.architecture} on {learner.compute.describe()}", flush=True)
        if resume:
            print(f"resuming after {progress.epoch} epochs and {progress.step} steps", flush=True)
    screen = EpochReport(configuration, progress.epoch, active=workers.is_first)

    def save(now: Progress, is_best: bool) -> None:
        if workers.is_first:
            save_progress(learner, data, now, folder, is_best)

    try:
        progress = fit(learner, training, validation, progress, save, screen.show)
    finally:
        screen.close()
    if workers.is_first and progress.best_epoch is not None:
        calibrate_run(folder / "best.pt", data)
    best = next((row for row in progress.history if row["epoch"] == progress.best_epoch), {})
    return RunResult(folder, progress.best_epoch or 0, best, workers.is_first)


class EpochReport:
    """Shows each epoch's row on screen and in TensorBoard."""

    def __init__(self, configuration: TrainingConfiguration, epochs_done: int, *, active: bool) -> None:
        self.configuration = configuration
        self.active = active
        self.writer: SummaryWriter | None = None
        if active and configuration.tensorboard:
            folder = str(configuration.run_folder / "tensorboard")
            self.writer = SummaryWriter(folder, purge_step=epochs_done + 1)

    def show(self, row: dict[str, Any]) -> None:
        """Print one line and write one point of each curve."""
        if self.active:
            print(describe_row(row, self.configuration.total_epochs), flush=True)
        if self.writer is not None:
            for name, value in row.items():
                if name != "epoch":
                    self.writer.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Finish the event file."""
        if self.writer is not None:
            self.writer.close()


def describe_row(row: dict[str, Any], epochs: int) -> str:
    """One epoch for the screen."""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['training_loss']:.3f}  validation: loss {row['log_loss']:.3f}  "
        f"accuracy {row['accuracy']:.3f}  balanced {row['balanced_accuracy']:.3f}  "
        f"weighted F1 {row['weighted_f1']:.3f}  macro F1 {row['macro_f1']:.3f}  "
        f"({row['images_per_second']:.0f} img/s at {row['image_size']})"
    )
