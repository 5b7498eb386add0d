"""The folder of a run: ``config.json``, ``data.json``, ``data_report.json``, ``split.csv``, ``classes.toml`` at the
start, then ``last.pt``, ``metrics.jsonl`` and ``best.pt`` as it goes on. Every file appears whole or not at all."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import CheckpointError
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from train.configuration import TrainingConfiguration, configuration_from_dict, configuration_to_json
from train.data.classes import write_class_set
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
    write_text_atomically(folder / "classes.toml", write_class_set(data.classes))
    for old in [folder / "best.pt", folder / "last.pt", folder / "metrics.jsonl", *folder.glob("tensorboard/events.*")]:
        old.unlink(missing_ok=True)
    write_text_atomically(Path(configuration.runs_folder) / "latest", configuration.name + "\n")


def save_progress(learner: Learner, data: PreparedData, progress: Progress, folder: Path, is_best: bool) -> None:
    """Write ``last.pt`` and ``metrics.jsonl`` and, after the best epoch so far, ``best.pt`` before them."""
    checkpoint = _make_checkpoint(learner, data, progress)
    if is_best:
        save_checkpoint(checkpoint, folder / "best.pt")
    state = learner_state(learner) | {
        "progress": dataclasses.asdict(progress),
        "inputs": _input_hashes(learner.configuration, data),
    }
    save_checkpoint(checkpoint, folder / "last.pt", state)
    rows = "".join(json.dumps(one) + "\n" for one in progress.history)
    write_text_atomically(folder / "metrics.jsonl", rows)


def read_progress(configuration: TrainingConfiguration, data: PreparedData) -> tuple[Progress, dict[str, Any]]:
    """Read where a run stands, and its learner's state.

    Raises :class:`CheckpointError` naming what has changed when anything that decides the run's result has.
    """
    path = configuration.run_folder / "last.pt"
    checkpoint, state = load_training_state(path)
    if checkpoint.architecture != configuration.architecture:
        raise CheckpointError(
            f"{path}: expected architecture {configuration.architecture}, found {checkpoint.architecture}"
        )
    if checkpoint.classes != data.classes:
        raise CheckpointError(
            f"{path}: {_changed_classes(checkpoint.classes, data.classes)}; start anew without --resume"
        )
    changes = [
        *(["the images"] if checkpoint.data_fingerprint != data.cache.fingerprint else []),
        *(["the split"] if checkpoint.split_hash != data.split.hash else []),
        *_changed_inputs(state.get("inputs", {}), _input_hashes(configuration, data)),
        *_changed_settings(checkpoint, configuration, path),
    ]
    if changes:
        raise CheckpointError(f"{path}: {', '.join(changes)} changed since; start anew without --resume")
    return Progress(**state["progress"]), state


def _changed_classes(before: ClassSet, now: ClassSet) -> str:
    if before.codes != now.codes:
        return f"expected the classes {' '.join(before.codes)}, found {' '.join(now.codes)}"
    changed = [one.code for one, other in zip(before.classes, now.classes, strict=True) if one != other]
    return f"the names, groups, meanings or synonyms of {' '.join(changed)} changed since"


_FREE_SETTINGS = {
    "name", "runs_folder", "cache_folder", "data", "data_licence", "classes", "split", "teachers", "device", "threads",
    "save_every_steps", "tensorboard",
}  # fmt: skip
"""Settings that decide nothing, and places whose content is compared instead."""


def _changed_settings(checkpoint: Checkpoint, configuration: TrainingConfiguration, path: Path) -> list[str]:
    before = msgspec.structs.asdict(configuration_from_dict(checkpoint.config, str(path)))
    now = msgspec.structs.asdict(configuration)
    return [
        f"--{name.replace('_', '-')} (from {before[name]!r} to {now[name]!r})"
        for name in now
        if name not in _FREE_SETTINGS and before[name] != now[name]
    ]


def _changed_inputs(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Compare what a state says it was made from; a state of an older version says less."""
    return [name for name, digest in now.items() if before.get(name, digest) != digest]


def _input_hashes(configuration: TrainingConfiguration, data: PreparedData) -> dict[str, str]:
    """SHA-256 of what a run learns from beside the images and the split, by the words for it."""
    teachers = [Path(name.strip()) for name in (configuration.teachers or "").split(",") if name.strip()]
    digests = [_sha256(path, path.stat().st_mtime_ns) for path in teachers if path.is_file()]
    return {
        "the labels": data.label_hash,
        "the lesions or patient metadata": data.patient_hash,
        "the teachers": hashlib.sha256("".join(digests).encode()).hexdigest(),
    }


@functools.cache
def _sha256(path: Path, modified_ns: int) -> str:
    """Digest of a file, computed once for each time of change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_checkpoint(learner: Learner, data: PreparedData, progress: Progress) -> Checkpoint:
    row = progress.history[-1] if progress.history else {}
    return Checkpoint(
        architecture=learner.configuration.architecture,
        classes=data.classes,
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
