"""The training loop, to be read from top to bottom: epochs of steps, validation, checkpoints."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from edge_runtime.interruption import Interruption, catch_stop_signals
from train.data.dataset import LesionDataset, epoch_batches, make_loader
from train.learning.learner import Learner
from train.learning.schedule import learning_rate_factor, set_learning_rates
from train.learning.step import learn
from train.learning.validation import predict_logits
from train.metrics.classification import summary_metrics
from train.metrics.temperature import apply_temperature


@dataclass
class Progress:
    """How far a run is. ``epoch`` counts finished epochs, ``step`` all steps, ``history`` one row per epoch.

    ``loss_sum`` adds up the losses of the epoch under way. ``best_value`` is higher-is-better.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_value: float | None = None
    best_epoch: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


class Interrupted(Exception):  # noqa: N818  not an error: a stop was requested, and the state is saved
    """Training stopped early on SIGTERM or Ctrl-C after saving ``last.pt``.

    ``exit_status`` says on which, as shells do; that of SIGTERM where another worker got the signal.
    """

    def __init__(self, stop: Interruption) -> None:
        super().__init__("training was asked to stop")
        self.exit_status = stop.exit_status or 128 + signal.SIGTERM


Save = Callable[[Progress, bool], None]
"""Writes the checkpoints; the flag says that this epoch is the best so far."""


def fit(
    learner: Learner,
    training: LesionDataset,
    validation: LesionDataset,
    progress: Progress,
    save: Save,
    report: Callable[[dict[str, Any]], None],
) -> Progress:
    """Train from where ``progress`` stands to the end; ``report`` gets each epoch's row.

    Raises :class:`Interrupted` after saving when a stop was requested.
    """
    configuration = learner.configuration
    with catch_stop_signals() as stop:
        while progress.epoch < configuration.total_epochs and not _out_of_patience(learner, progress):
            size = configuration.image_size_at(progress.epoch)
            started, first_step = time.perf_counter(), progress.step
            steps = _train_one_epoch(learner, training, progress, size, save, stop)
            seconds = time.perf_counter() - started
            row = {"epoch": progress.epoch + 1, "image_size": size, "training_loss": progress.loss_sum / steps}
            row |= validate(learner, validation, size)
            row |= {"seconds": round(seconds, 2)}
            row |= {"images_per_second": round((progress.step - first_step) * configuration.batch_size / seconds, 1)}
            progress.history.append(row)
            progress.epoch, progress.loss_sum = progress.epoch + 1, 0.0
            save(progress, _note_best(learner, progress, row))
            report(row)
            if learner.workers.any(bool(stop)) and progress.epoch < configuration.total_epochs:
                raise Interrupted(stop)
    return progress


def _train_one_epoch(
    learner: Learner, training: LesionDataset, progress: Progress, size: int, save: Save, stop: Interruption
) -> int:
    """Do the steps of the epoch that ``progress`` has not done yet; returns the steps of the whole epoch."""
    configuration, workers, epoch = learner.configuration, learner.workers, progress.epoch
    balance = configuration.sampler_power if configuration.sampler == "balanced" else None
    batches = epoch_batches(training.labels, configuration.batch_size, configuration.seed, epoch, balance)
    remaining = batches[progress.step - epoch * len(batches) :]
    only_new = epoch < configuration.freeze_epochs
    learner.begin(only_new=only_new)
    loader = make_loader(training, [workers.share(batch) for batch in remaining])
    hidden = not (workers.is_first and sys.stderr.isatty())
    bar = tqdm(loader, desc=f"epoch {epoch + 1}", unit="batch", leave=False, disable=hidden)
    for batch in bar:
        factor = learning_rate_factor(progress.step, len(batches), configuration)
        set_learning_rates(learner.optimizer, factor, only_new=only_new)
        progress.loss_sum += workers.sum(learn(learner, batch, progress.step, size))
        progress.step += 1
        if workers.any(bool(stop)):
            save(progress, False)
            raise Interrupted(stop)
        if configuration.save_every_steps and progress.step % configuration.save_every_steps == 0:
            save(progress, False)
    return len(batches)


def validate(learner: Learner, validation: LesionDataset, size: int) -> dict[str, float]:
    """Metrics of the deployed weights on the validation images."""
    logits = predict_logits(
        learner.deployed,
        validation,
        learner.compute,
        size=size,
        classes=learner.model.classes,
        workers=learner.workers,
    )
    return summary_metrics(validation.labels, apply_temperature(logits))


def _note_best(learner: Learner, progress: Progress, row: dict[str, Any]) -> bool:
    """Whether this epoch is the best so far. Metrics at another image size do not compare, so they are forgotten."""
    configuration = learner.configuration
    if progress.epoch == configuration.epochs + 1:
        progress.best_value = None
    if configuration.select == "last":
        value = float(progress.epoch)
    elif configuration.select == "loss":
        value = -row["log_loss"]
    else:
        value = row[configuration.select]
    if progress.best_value is not None and value <= progress.best_value:
        return False
    progress.best_value, progress.best_epoch = value, progress.epoch
    return True


def _out_of_patience(learner: Learner, progress: Progress) -> bool:
    """Early stopping; never before the epochs at the final image size."""
    configuration = learner.configuration
    if not configuration.patience or progress.best_epoch is None:
        return False
    if configuration.final_epochs and progress.epoch <= configuration.epochs:
        return False
    return progress.epoch - progress.best_epoch >= configuration.patience
