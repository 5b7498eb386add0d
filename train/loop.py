"""The training loop, to be read from top to bottom: epochs of steps, validation, checkpoints."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from train.dataset import LesionDataset, epoch_batches, make_loader
from train.metrics import summary_metrics
from train.schedule import rate_factor, set_rates, set_trainable
from train.step import Learner, learn
from train.validation import predict_logits


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


class Interrupted(Exception):  # noqa: N818  not an error: the user or the machine asked to stop, and the state is saved
    """Training stopped early on SIGTERM or SIGINT after saving ``last.pt``."""


class StopRequest:
    """Notes SIGTERM and Ctrl-C while active, so that the loop can stop between two steps."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


def fit(
    learner: Learner,
    training: LesionDataset,
    validation: LesionDataset,
    progress: Progress,
    save: Callable[[Progress, bool], None],
    report: Callable[[dict[str, Any]], None],
) -> Progress:
    """Train from where ``progress`` stands to the end.

    ``save(progress, is_best)`` writes the checkpoints and is called between steps only; ``report`` gets each epoch's
    row. Raises :class:`Interrupted` after saving when asked to stop.
    """
    configuration = learner.configuration
    balance = configuration.sampler_power if configuration.sampler == "balanced" else None
    with StopRequest() as stop:
        while progress.epoch < configuration.total_epochs and not _out_of_patience(learner, progress):
            epoch, size = progress.epoch, configuration.image_size_at(progress.epoch)
            batches = epoch_batches(training.labels, configuration.batch_size, configuration.seed, epoch, balance)
            done = progress.step - epoch * len(batches)
            only_new = epoch < configuration.freeze_epochs
            learner.model.train()
            set_trainable(learner.model, learner.optimizer, only_new=only_new)
            started = time.perf_counter()
            loader = make_loader(training, batches[done:])
            hidden = not sys.stderr.isatty()
            for batch in tqdm(loader, desc=f"epoch {epoch + 1}", unit="batch", leave=False, disable=hidden):
                factor = rate_factor(progress.step, len(batches), configuration)
                set_rates(learner.optimizer, factor, only_new=only_new)
                progress.loss_sum += learn(learner, batch, progress.step, size)
                progress.step += 1
                if stop.requested:
                    save(progress, False)
                    raise Interrupted
                if configuration.save_every_steps and progress.step % configuration.save_every_steps == 0:
                    save(progress, False)
            seconds = time.perf_counter() - started
            row = {"epoch": epoch + 1, "image_size": size, "training_loss": progress.loss_sum / len(batches)}
            row |= validate(learner, validation, size)
            row |= {"learning_rate": learner.configuration.learning_rate * factor} if done < len(batches) else {}
            row |= {"seconds": round(seconds, 2)}
            row |= {"images_per_second": round((len(batches) - done) * configuration.batch_size / seconds, 1)}
            progress.history.append(row)
            progress.epoch, progress.loss_sum = epoch + 1, 0.0
            save(progress, _note_best(learner, progress, row))
            report(row)
            if stop.requested and progress.epoch < configuration.total_epochs:
                raise Interrupted
    return progress


def validate(learner: Learner, validation: LesionDataset, size: int) -> dict[str, float]:
    """Figures of the deployed weights on the validation pictures."""
    logits = predict_logits(learner.deployed, validation, learner.compute, size=size)
    return summary_metrics(validation.labels, softmax(logits))


def softmax(logits: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Logits [N, C] → probabilities [N, C], both float64."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _note_best(learner: Learner, progress: Progress, row: dict[str, Any]) -> bool:
    """Whether this epoch is the best so far. Figures at another picture size do not compare, so they are forgotten."""
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
    patience = learner.configuration.patience
    return bool(patience and progress.best_epoch is not None and progress.epoch - progress.best_epoch >= patience)


