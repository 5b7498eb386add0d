"""One run from its configuration to its folder: prepare the data, build the model, fit, and keep what came of it.

The folder holds ``config.json``, ``split.csv``, ``data.json``, ``metrics.jsonl``, ``best.pt``, ``last.pt`` and
``tensorboard/``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.tensorboard import SummaryWriter

from edge_runtime.errors import CheckpointError
from edge_runtime.classes import CLASS_CODES
from edge_runtime.patient import metadata_size
from edge_runtime.preprocessing import INPUT_SIZE
from train.augment import find_preset
from train.averaging import make_average
from train.checkpoint import Checkpoint, load_training_state, save_checkpoint
from train.configuration import TrainingConfiguration, configuration_to_json
from train.device import choose_compute
from train.files import write_text_atomically
from train.initial_weights import initialise
from train.loop import Progress, fit
from train.losses import make_loss
from train.models import build_model
from train.prepare import PreparedData, fit_parts, prepare_data
from train.schedule import make_optimizer
from train.split import write_split
from train.step import Learner


@dataclass(frozen=True)
class RunResult:
    """Where a finished run's outputs are, and the validation figures of the best epoch."""

    folder: Path
    best_epoch: int
    metrics: dict[str, float]


def train_run(configuration: TrainingConfiguration, *, resume: bool = False) -> RunResult:
    """Train as configured into ``configuration.run_folder``. Raises a :class:`DermedgeError` for users' mistakes."""
    if configuration.threads is not None:
        torch.set_num_threads(configuration.threads)
    folder = configuration.run_folder
    data = prepare_data(configuration)
    training, validation = data.dataset(*fit_parts(configuration)), data.dataset("validation")
    print(f"data: {data.name}: {len(training)} pictures to learn from, {len(validation)} to validate on", flush=True)
    learner = make_learner(configuration, data, training.labels, fill=not resume)
    progress = Progress()
    if resume:
        progress = resume_run(learner, data, folder / "last.pt")
        print(f"resuming after epoch {progress.epoch}, step {progress.step}", flush=True)
    else:
        start_folder(configuration, data)
    print(f"model: {configuration.architecture} on {learner.compute.describe()}", flush=True)
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=progress.epoch + 1) if (
        configuration.tensorboard
    ) else None

    def save(now: Progress, is_best: bool) -> None:
        save_state(learner, data, now, folder, is_best)

    def report(row: dict[str, Any]) -> None:
        print(describe_row(row, configuration.total_epochs), flush=True)
        for name, value in row.items() if writer is not None else ():
            if name != "epoch":
                writer.add_scalar(name, value, row["epoch"])

    try:
        progress = fit(learner, training, validation, progress, save, report)
    finally:
        if writer is not None:
            writer.close()
    best = next(row for row in progress.history if row["epoch"] == progress.best_epoch)
    return RunResult(folder, best["epoch"], best)


def make_learner(configuration: TrainingConfiguration, data: PreparedData, labels: Any, *, fill: bool) -> Learner:
    """Model, optimiser and loss as configured. ``fill``: take the initial weights from where ``--init`` says."""
    compute = choose_compute(configuration.device, configuration.precision)
    torch.manual_seed(configuration.seed)
    size = 0 if data.metadata_spec is None else metadata_size(data.metadata_spec)
    model = build_model(configuration.architecture, dropout=configuration.dropout, metadata_size=size)
    new_tensors: tuple[str, ...] = ()
    initial = initialise(model, configuration.init) if fill or configuration.init != "imagenet" else None
    if initial is not None:
        print(initial.summary(), flush=True)
        new_tensors = initial.random
    model = model.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Learner(
        model=model,
        optimizer=make_optimizer(model, new_tensors, configuration),
        average=make_average(model, configuration.ema) if configuration.ema else None,
        scaler=torch.amp.GradScaler(compute.device.type, enabled=compute.needs_scaling),
        loss=make_loss(configuration, labels, compute.device),
        augmentation=find_preset(configuration.augmentation),
        compute=compute,
        configuration=configuration,
        metadata_spec=data.metadata_spec,
    )


def start_folder(configuration: TrainingConfiguration, data: PreparedData) -> None:
    """Write what a run knows before its first step, and point ``latest`` at it."""
    folder = configuration.run_folder
    write_text_atomically(folder / "config.json", configuration_to_json(configuration))
    write_text_atomically(folder / "data.json", json.dumps({"folder": str(data.folder), "name": data.name}) + "\n")
    write_split(data.split, folder / "split.csv")
    for name in ("best.pt", "last.pt", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    write_text_atomically(folder.parent / "latest", folder.name + "\n")


def save_state(learner: Learner, data: PreparedData, progress: Progress, folder: Path, is_best: bool) -> None:
    """Write ``last.pt``, ``metrics.jsonl`` and, after the best epoch so far, ``best.pt``; each whole or not at all."""
    row = progress.history[-1] if progress.history else {}
    checkpoint = Checkpoint(
        architecture=learner.configuration.architecture,
        classes=CLASS_CODES,
        state_dict={name: tensor.cpu().contiguous() for name, tensor in learner.deployed.state_dict().items()},
        input_size=INPUT_SIZE,
        config=dataclasses.asdict(learner.configuration),
        epoch=progress.epoch,
        metrics={name: float(value) for name, value in row.items()},
        split_hash=data.split.hash,
        data_name=data.name,
        data_fingerprint=data.cache.fingerprint,
        demo=data.demo,
        licence=data.licence,
        patient_metadata=None if data.metadata_spec is None else msgspec.to_builtins(data.metadata_spec),
    )
    if is_best:
        save_checkpoint(checkpoint, folder / "best.pt")
    state = {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "progress": dataclasses.asdict(progress),
    }
    save_checkpoint(checkpoint, folder / "last.pt", state)
    rows = "".join(json.dumps(one) + "\n" for one in progress.history)
    write_text_atomically(folder / "metrics.jsonl", rows)


def resume_run(learner: Learner, data: PreparedData, path: Path) -> Progress:
    """Restore a run's state from its ``last.pt``. Raises :class:`CheckpointError` when it is of another run."""
    checkpoint, state = load_training_state(path)
    if checkpoint.split_hash != data.split.hash or checkpoint.data_fingerprint != data.cache.fingerprint:
        raise CheckpointError(f"{path}: the data or the split have changed since; start anew without --resume")
    if checkpoint.architecture != learner.configuration.architecture:
        raise CheckpointError(
            f"{path}: expected architecture {learner.configuration.architecture}, found {checkpoint.architecture}"
        )
    learner.model.load_state_dict(state["model"])
    learner.optimizer.load_state_dict(state["optimizer"])
    if learner.average is not None:
        learner.average.load_state_dict(state["average"])
    learner.scaler.load_state_dict(state["scaler"])
    return Progress(**state["progress"])


def describe_row(row: dict[str, Any], epochs: int) -> str:
    """One epoch for the screen."""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['training_loss']:.3f}  validation: loss {row['log_loss']:.3f}  "
        f"accuracy {row['accuracy']:.3f}  balanced {row['balanced_accuracy']:.3f}  "
        f"weighted F1 {row['weighted_f1']:.3f}  macro F1 {row['macro_f1']:.3f}  "
        f"({row['images_per_second']:.0f} img/s at {row['image_size']})"
    )
