"""The folder of a run: ``config.json``, ``data.json``, ``data_report.json``, ``split.csv`` at the start, then
``last.pt``, ``metrics.jsonl`` and ``best.pt`` as it goes on. Every file appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.errors import CheckpointError
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from train.configuration import TrainingConfiguration, configuration_to_json
from train.data.prepare import PreparedData
from train.data.split import write_split
from train.files import write_text_atomically
from train.learning.learner import Learner, learner_state
from train.learning.loop import Progress
from train.model.checkpoint import Checkpoint, load_training_state, save_checkpoint


def start_folder(configuration: TrainingConfiguration, data: PreparedData) -> None:
    """Write what a run knows before its first step, remove an earlier run's outputs, and point ``latest`` at it."""
    folder = configuration.run_folder
    write_text_atomically(folder / "config.json", configuration_to_json(configuration))
    write_text_atomically(folder / "data.json", json.dumps({"folder": str(data.folder), "name": data.name}) + "\n")
    write_text_atomically(folder / "data_report.json", json.dumps(data.report.to_json(), indent=1) + "\n")
    write_split(data.split, folder / "split.csv")
    for old in [folder / "best.pt", folder / "last.pt", folder / "metrics.jsonl", *folder.glob("tensorboard/events.*")]:
        old.unlink(missing_ok=True)
    write_text_atomically(Path(configuration.runs_folder) / "latest", configuration.name + "\n")


def save_progress(learner: Learner, data: PreparedData, progress: Progress, folder: Path, is_best: bool) -> None:
    """Write ``last.pt`` and ``metrics.jsonl`` and, after the best epoch so far, ``best.pt`` before them."""
    checkpoint = _make_checkpoint(learner, data, progress)
    if is_best:
        save_checkpoint(checkpoint, folder / "best.pt")
    state = learner_state(learner) | {"progress": dataclasses.asdict(progress)}
    save_checkpoint(checkpoint, folder / "last.pt", state)
    rows = "".join(json.dumps(one) + "\n" for one in progress.history)
    write_text_atomically(folder / "metrics.jsonl", rows)


def read_progress(configuration: TrainingConfiguration, data: PreparedData) -> tuple[Progress, dict[str, Any]]:
    """Read where a run stands, and its learner's state. Raises :class:`CheckpointError` when it is of another run."""
    path = configuration.run_folder / "last.pt"
    checkpoint, state = load_training_state(path)
    if checkpoint.split_hash != data.split.hash or checkpoint.data_fingerprint != data.cache.fingerprint:
        raise CheckpointError(f"{path}: the data or the split have changed since; start anew without --resume")
    if checkpoint.architecture != configuration.architecture:
        raise CheckpointError(
            f"{path}: expected architecture {configuration.architecture}, found {checkpoint.architecture}"
        )
    return Progress(**state["progress"]), state


def _make_checkpoint(learner: Learner, data: PreparedData, progress: Progress) -> Checkpoint:
    row = progress.history[-1] if progress.history else {}
    return Checkpoint(
        architecture=learner.configuration.architecture,
        classes=CLASS_CODES,
        state_dict={name: tensor.cpu().contiguous() for name, tensor in learner.deployed.state_dict().items()},
        input_size=INPUT_SIZE,
        config=msgspec.structs.asdict(learner.configuration),
        epoch=progress.epoch,
        metrics={name: float(value) for name, value in row.items()},
        split_hash=data.split.hash,
        data_name=data.name,
        data_fingerprint=data.cache.fingerprint,
        demo=data.demo,
        licence=data.licence,
        patient_metadata=None if data.metadata_spec is None else msgspec.to_builtins(data.metadata_spec),
    )
