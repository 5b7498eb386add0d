"""Checkpoints come back as they were saved, and every other file is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import CheckpointError
from train.model.architectures import build_model
from train.model.checkpoint import (
    Checkpoint,
    build_checkpoint_model,
    load_checkpoint,
    load_training_state,
    save_checkpoint,
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        architecture="tiny",
        classes=ham10000(),
        state_dict=build_model("tiny", classes=7, metadata_size=5).state_dict(),
        input_size=224,
        config={"dropout": 0.1, "seed": 0, "teachers": None},
        epoch=3,
        metrics={"accuracy": 0.5},
        split_hash="ab" * 32,
        data_name="made up",
        data_fingerprint="cd" * 32,
        demo=True,
        licence="none",
        temperature=1.5,
        not_sure_below=0.4,
        coverage=0.9,
        patient_metadata={"age_scale_years": 100.0, "sexes": ["female", "male"], "sites": ["back"]},
    )


def test_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = save_checkpoint(checkpoint, tmp_path / "run" / "best.pt")
    loaded = load_checkpoint(path)
    for field in dataclasses.fields(Checkpoint):
        if field.name != "state_dict":
            assert getattr(loaded, field.name) == getattr(checkpoint, field.name), field.name
    assert all(torch.equal(loaded.state_dict[name], value) for name, value in checkpoint.state_dict.items())
    model = build_checkpoint_model(loaded)
    assert not model.training
    assert model.head.metadata_size == 5


def test_saving_over_keeps_one_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_checkpoint(dataclasses.replace(checkpoint, epoch=epoch), tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt").epoch == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_weights_of_another_model_are_refused(checkpoint: Checkpoint) -> None:
    weights = {name: value for name, value in checkpoint.state_dict.items() if name != "head.classifier.bias"}
    with pytest.raises(CheckpointError, match=r"expected weights of tiny: .*head\.classifier\.bias"):
        build_checkpoint_model(dataclasses.replace(checkpoint, state_dict=weights))


def test_state_is_only_in_last(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = save_checkpoint(checkpoint, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"best\.pt: expected the state of a run \(last\.pt\)"):
        load_training_state(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["mel", "nv"]}, r"c\.pt: expected classes with codes and names: .*got `str`"),
        ({"architecture": "vgg11"}, r"c\.pt: expected architecture resnet18, .*, found 'vgg11'"),
        ({"format": 99}, r"c\.pt: expected a dermedge checkpoint of format 1"),
        ({"colour": 1}, r"c\.pt: unknown key 'colour'"),
        ({"epoch": ...}, r"c\.pt: damaged checkpoint: .*epoch"),
    ],
)
def test_altered_checkpoint(checkpoint: Checkpoint, tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = save_checkpoint(checkpoint, tmp_path / "c.pt")
    content = torch.load(path, weights_only=True)
    for key, value in change.items():
        if value is ...:
            del content[key]
        else:
            content[key] = value
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04half a zip"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"c\.pt: expected a checkpoint, found something else or damage"):
        load_checkpoint(tmp_path / "c.pt")


def test_truncated_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = save_checkpoint(checkpoint, tmp_path / "c.pt")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"c\.pt: expected a checkpoint"):
        load_checkpoint(path)


def test_no_code_from_a_file_is_run(tmp_path: Path) -> None:
    import os
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    (tmp_path / "c.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "harm").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: cannot be read: No such file"):
        load_checkpoint(tmp_path / "none.pt")
