"""Checkpoints: what export and evaluation need of a trained model, and the state a killed run resumes from.

Both are read with ``weights_only=True``: opening one runs no code from the file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from edge_runtime.bundle.classes import ClassSet, LesionClass, ham10000
from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.bundle.patient import metadata_size
from edge_runtime.errors import CheckpointError
from train.files import replacing
from train.model.architectures import ARCHITECTURES, LesionModel, build_model

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and where it came from.

    ``state_dict`` holds the weights to deploy (the averaged ones where averaging was on). ``temperature`` is 1 until
    fitted; ``not_sure_below`` is the confidence under which the model gives no diagnosis, for the stated ``coverage``
    of the validation images. ``data_fingerprint`` and ``split_hash`` are SHA-256 in hexadecimal.
    """

    architecture: str
    classes: ClassSet
    state_dict: dict[str, Tensor]
    input_size: int
    config: dict[str, Any]
    epoch: int
    metrics: dict[str, float]
    split_hash: str
    data_name: str
    data_fingerprint: str
    demo: bool
    licence: str
    temperature: float = 1.0
    not_sure_below: float | None = None
    coverage: float | None = None
    patient_metadata: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def metadata_spec(self) -> PatientMetadataSpec | None:
        """How patient metadata is encoded, ``None`` for a model without."""
        return None if self.patient_metadata is None else PatientMetadataSpec(**self.patient_metadata)


def save_checkpoint(checkpoint: Checkpoint, path: Path, training_state: dict[str, Any] | None = None) -> Path:
    """Write atomically and return ``path``. Raises :class:`CheckpointError`; an older file is then still whole."""
    content = checkpoint_content(checkpoint)
    if training_state is not None:
        content["training_state"] = training_state
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except RuntimeError as error:  # torch's writer says a full disk this way
        reason = "no space left?" if "write" in str(error) else str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be written: {reason}; the older file is untouched") from None
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises :class:`CheckpointError` naming the file and what is wrong with it."""
    return checkpoint_from(_load(path), path)


def checkpoint_content(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what is written of a checkpoint: its fields and the format's version."""
    content = {one.name: getattr(checkpoint, one.name) for one in dataclasses.fields(checkpoint)}
    return content | {"format": FORMAT, "classes": msgspec.to_builtins(list(checkpoint.classes.classes))}


def load_training_state(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Read a ``last.pt`` with the state to resume from. Raises :class:`CheckpointError`."""
    content = _load(path)
    if "training_state" not in content:
        raise CheckpointError(f"{path}: expected the state of a run (last.pt), found a checkpoint without it")
    return checkpoint_from(content, path), content["training_state"]


def classes_of(content: dict[str, Any], path: Path) -> ClassSet:
    """Return the classes of a checkpoint's content; before 0.2.0 it had HAM10000's codes alone."""
    found = content.get("classes", [])
    if list(found) == list(ham10000().codes):
        return ham10000()
    try:
        return ClassSet(tuple(msgspec.convert(found, list[LesionClass])))
    except ValueError as error:  # msgspec's ValidationError too
        raise CheckpointError(f"{path}: expected classes with codes and names: {error}") from None


def load_tensors(path: Path, expected: str) -> Any:
    """Read what ``torch.save`` wrote, running no code from it. Raises :class:`CheckpointError` naming ``expected``."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    with file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # on damaged files the unpickler raises anything from IndexError to OSError
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise CheckpointError(f"{path}: expected {expected}, found something else or damage: {reason}") from None


def build_checkpoint_model(checkpoint: Checkpoint) -> LesionModel:
    """The checkpoint's model with its weights, in evaluation mode."""
    spec = checkpoint.metadata_spec
    dropout = checkpoint.config.get("dropout", 0.0)
    model = build_model(
        checkpoint.architecture, classes=len(checkpoint.classes), dropout=dropout, metadata_size=metadata_size(spec)
    )
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise CheckpointError(f"expected weights of {checkpoint.architecture}: {message[:300]}") from None
    return model.eval()


def _load(path: Path) -> dict[str, Any]:
    content = load_tensors(path, "a checkpoint")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a dermedge checkpoint of format {FORMAT}, found something else")
    return content


def checkpoint_from(content: dict[str, Any], path: Path) -> Checkpoint:
    """Return the checkpoint of such content. Raises :class:`CheckpointError` naming ``path``, where it was read."""
    names = {one.name for one in dataclasses.fields(Checkpoint)}
    for key in content:
        if key not in names | {"format", "training_state"}:
            raise CheckpointError(f"{path}: unknown key {key!r}")
    classes = classes_of(content, path)
    if content.get("architecture") not in ARCHITECTURES:
        found = content.get("architecture")
        raise CheckpointError(f"{path}: expected architecture {', '.join(ARCHITECTURES)}, found {found!r}")
    try:
        return Checkpoint(**{**{key: content[key] for key in content if key in names}, "classes": classes})
    except TypeError as error:
        raise CheckpointError(f"{path}: damaged checkpoint: {error}") from None
