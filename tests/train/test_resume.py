"""A run that was killed and resumed ends with the very weights and metrics of the run that never was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from edge_runtime.errors import CheckpointError
from train.configuration import TrainingConfiguration
from train.learning import loop
from train.model.checkpoint import load_checkpoint, load_training_state
from train.run import train_run

pytestmark = pytest.mark.slow

Quick = Callable[..., TrainingConfiguration]
TIMES = ("seconds", "images_per_second")


def weights_hash(path: Path) -> str:
    """SHA-256 over names and bytes of all weights, deployed and learned."""
    checkpoint, state = load_training_state(path)
    digest = hashlib.sha256()
    for weights in (checkpoint.state_dict, state["model"]):
        for name, tensor in weights.items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


class Killed(Exception):  # noqa: N818
    """Stands for the machine going away in the middle of a step."""


def kill_at_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = loop.learn

    def learn(learner: object, batch: object, now: int, size: int) -> float:
        if now == step:
            raise Killed
        return original(learner, batch, now, size)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "learn", learn)


RECIPE = {
    "epochs": 2,
    "final_epochs": 1,
    "final_image_size": 40,
    "ema": 0.9,
    "dropout": 0.3,
    "mixup": 0.4,
    "cutmix": 1.0,
    "augmentation": "strong",
    "sampler": "balanced",
    "accumulate": 2,
    "freeze_epochs": 1,
    "patient_metadata": True,
    "save_every_steps": 2,
}


@pytest.fixture(scope="module")
def unbroken(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    configuration = quick(runs_folder=str(tmp_path_factory.mktemp("runs")), name="unbroken", **RECIPE)
    train_run(configuration)
    return configuration.run_folder


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_killed_and_resumed_is_bit_identical(
    quick: Quick, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="broken", **RECIPE)
    with monkeypatch.context() as patch:
        kill_at_step(patch, step)
        with pytest.raises(Killed):
            train_run(configuration)
    resume = (configuration.run_folder / "last.pt").exists()
    assert resume == (step >= 2), "nothing was saved before the second step"
    torch.manual_seed(step)  # a new process comes with another state of the global generator
    torch.rand(17)
    train_run(configuration, resume=resume)
    for name in ("last.pt",):
        assert weights_hash(configuration.run_folder / name) == weights_hash(unbroken / name)
    assert metrics(configuration.run_folder) == metrics(unbroken)
    best, expected = (load_checkpoint(folder / "best.pt") for folder in (configuration.run_folder, unbroken))
    assert best.epoch == expected.epoch
    assert all(torch.equal(best.state_dict[name], expected.state_dict[name]) for name in expected.state_dict)


def test_another_seed_gives_other_weights(quick: Quick, unbroken: Path, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="other", seed=1, **RECIPE)
    train_run(configuration)
    assert weights_hash(configuration.run_folder / "last.pt") != weights_hash(unbroken / "last.pt")


def test_stop_request_saves_and_resumes_identically(
    quick: Quick, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="stopped", **(RECIPE | {"save_every_steps": 0}))
    original = loop.learn

    def learn(learner: object, batch: object, now: int, size: int) -> float:
        if now == 3:
            # Called rather than sent: libraries that other tests load can leave a broken signal stack in this process.
            # tests/train/test_interruption.py sends real signals to processes of its own.
            handler = signal.getsignal(signal.SIGTERM)
            assert callable(handler), "no handler: the signal would have ended the process"
            handler(signal.SIGTERM, None)
        return original(learner, batch, now, size)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learn", learn)
        with pytest.raises(loop.Interrupted) as interrupted:
            train_run(configuration)
    assert interrupted.value.exit_status == 143
    _, state = load_training_state(configuration.run_folder / "last.pt")
    assert state["progress"]["step"] == 4
    train_run(configuration, resume=True)
    assert weights_hash(configuration.run_folder / "last.pt") == weights_hash(unbroken / "last.pt")
    assert metrics(configuration.run_folder) == metrics(unbroken)


def test_resume_refuses_other_data(quick: Quick, unbroken: Path) -> None:
    configuration = quick(runs_folder=str(unbroken.parent), name="unbroken", **(RECIPE | {"split_seed": 5}))
    message = r"last\.pt: the split, --split-seed \(from 0 to 5\) changed since; start anew without --resume"
    with pytest.raises(CheckpointError, match=message):
        train_run(configuration, resume=True)


def test_resume_refuses_other_labels_patients_settings_and_teachers(
    quick: Quick, write_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_tiny(tmp_path / "data")
    table = data / "HAM10000_metadata.csv"
    original = table.read_text()
    shared = {"data": str(data), "runs_folder": str(tmp_path), "epochs": 1}
    train_run(quick(name="teacher", **shared))
    teacher = tmp_path / "teacher" / "best.pt"
    settings = shared | {"name": "pupil", "teachers": str(teacher), "epochs": 1}
    train_run(quick(**settings))
    # within one class and lesion, so that split and images stay as they are
    split = (tmp_path / "pupil" / "split.csv").read_text()
    changes = {
        "the lesions or patient metadata": original.replace(",female,back", ",male,back", 1),
        "the labels": "\n".join(
            line.replace(",akiec,", ",bcc,") if line.startswith("HAM_0000000,") else line
            for line in original.splitlines()
        ),
    }
    for words, text in changes.items():
        table.write_text(text)
        with pytest.raises(CheckpointError, match=rf"last\.pt: .*{words}.* changed since"):
            train_run(quick(**(settings | {"split": str(tmp_path / "pupil" / "split.csv")})), resume=True)
    table.write_text(original)
    with pytest.raises(CheckpointError, match=r"last\.pt: --loss \(from 'weighted-cross-entropy' to 'focal'\) changed"):
        train_run(quick(**settings, loss="focal"), resume=True)
    train_run(quick(**settings, threads=1), resume=True)
    content = torch.load(teacher, weights_only=True)
    torch.save(content | {"epoch": 99}, teacher)
    with pytest.raises(CheckpointError, match=r"last\.pt: the teachers changed since"):
        train_run(quick(**settings), resume=True)
    assert (tmp_path / "pupil" / "split.csv").read_text() == split


@contextlib.contextmanager
def no_room_for_more_than(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as the system does on a full disk or quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_the_last_good_checkpoint(quick: Quick, unbroken: Path, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="full", **RECIPE)
    original, kept = loop.learn, b""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:

        def learn(learner: object, batch: object, now: int, size: int) -> float:
            nonlocal kept
            if now == 3:  # the state after step 2 is there; the next saving, after step 4, finds no space
                kept = (configuration.run_folder / "last.pt").read_bytes()
                stack.enter_context(no_room_for_more_than(10_000))
            return original(learner, batch, now, size)  # type: ignore[arg-type]

        patch.setattr(loop, "learn", learn)
        with pytest.raises(CheckpointError, match=r"(last|best)\.pt: cannot be written: .*") as caught:
            train_run(configuration)
    assert "\n" not in str(caught.value)
    assert len(kept) > 10_000
    assert (configuration.run_folder / "last.pt").read_bytes() == kept
    assert not list(configuration.run_folder.glob(".*.part"))
    train_run(configuration, resume=True)
    assert weights_hash(configuration.run_folder / "last.pt") == weights_hash(unbroken / "last.pt")
    assert metrics(configuration.run_folder) == metrics(unbroken)
