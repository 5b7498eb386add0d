"""Each kind of bad input is one line on stderr that names file and value, and leaves nothing behind, not even half."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edge_runtime.bundle.classes import ham10000, read_class_set, shipped_class_sets
from edge_runtime.errors import run_command_line
from train.command_line import main
from train.model.architectures import build_model
from train.model.checkpoint import Checkpoint, save_checkpoint

WriteTiny = Callable[..., Path]


def table(data: Path) -> Path:
    return data / "HAM10000_metadata.csv"


def replace_in_table(data: Path, old: str, new: str) -> None:
    text = table(data).read_text()
    assert old in text
    table(data).write_text(text.replace(old, new, 1))


def repeat_a_row(data: Path) -> None:
    lines = table(data).read_text().splitlines()
    table(data).write_text("\n".join([*lines, lines[1]]) + "\n")


def remove_all(data: Path) -> None:
    table(data).unlink()
    for path in data.rglob("*.jpg"):
        path.unlink()


def damage_all(data: Path) -> None:
    for path in data.rglob("*.jpg"):
        path.write_bytes(b"not an image")


def write_checkpoint(folder: Path, **changes: object) -> None:
    checkpoint = Checkpoint(
        architecture="resnet18",
        classes=ham10000(),
        state_dict=build_model("tiny", classes=7).state_dict(),
        input_size=224,
        config={},
        epoch=1,
        metrics={},
        split_hash="0" * 64,
        data_name="none",
        data_fingerprint="0" * 64,
        demo=False,
        licence="none",
    )
    path = save_checkpoint(dataclasses.replace(checkpoint, **changes), folder / "other.pt")  # type: ignore[arg-type]
    assert path.is_file()


TWO = read_class_set(shipped_class_sets()["binary-malignant"])


def two_classes() -> dict[str, torch.Tensor]:
    return build_model("tiny", classes=2).state_dict()


BAD = {
    "missing column": (
        lambda data: replace_in_table(data, "dx,", "diagnosis,"),
        [],
        "error: {table}: missing column 'dx'",
    ),
    "unknown class": (
        lambda data: replace_in_table(data, ",akiec,", ",wart,"),
        [],
        "error: {table}, line 2: unknown class 'wart', expected one of akiec bcc bkl df mel nv vasc",
    ),
    "negative age": (
        lambda data: replace_in_table(data, ",40.0,", ",-40,"),
        [],
        "error: {table}, line 2: expected an age of 0 to 130 years, found '-40'",
    ),
    "duplicate ids": (repeat_a_row, [], "error: {table}, line 58: duplicate image id 'ISIC_0000000'"),
    "empty folder": (remove_all, [], "error: {data}: expected one of the layouts: "),
    "nothing readable": (damage_all, [], "error: none of 56 images can be read, the first because: {data}/"),
    "unknown key": (
        lambda data: (data / "run.toml").write_text("colour = 3\n"),
        ["--config", "{data}/run.toml"],
        "error: {data}/run.toml: unknown key 'colour'",
    ),
    "another architecture": (
        lambda data: write_checkpoint(data),
        ["--init", "{data}/other.pt"],
        "error: {data}/other.pt: expected a checkpoint of tiny, found one of resnet18",
    ),
    "another class list": (
        lambda data: write_checkpoint(data, architecture="tiny", classes=TWO, state_dict=two_classes()),
        ["--teachers", "{data}/other.pt"],
        "error: {data}/other.pt: expected a teacher of classes akiec bcc bkl df mel nv vasc, found benign malignant",
    ),
    "unknown classes": (
        lambda data: None,
        ["--classes", "nine"],
        "error: --classes: expected binary-malignant, ham10000, isic2019, folders or a TOML file, found 'nine'",
    ),
    "a file of one class": (
        lambda data: (data / "one.toml").write_text("[mel]\n"),
        ["--classes", "{data}/one.toml"],
        "error: {data}/one.toml: expected at least two classes, found mel",
    ),
    "wrong flag": (
        lambda data: None,
        ["--epochs", "many"],
        "error: argument --epochs: expected a whole number from 0 to 100000, found many ",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind: str, write_tiny: WriteTiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, more, message = BAD[kind]
    data = write_tiny(tmp_path / "data")
    spoil(data)
    places = {"data": data, "table": table(data)}
    flags = ["--data", str(data), "--runs-folder", str(tmp_path / "runs"), "--cache-folder", str(tmp_path / "cache")]
    flags += ["--architecture", "tiny", "--init", "none", *(one.format(**places) for one in more)]
    try:
        status = run_command_line(lambda: main(flags))
    except SystemExit as stopped:
        status = int(str(stopped.code))
    output = capsys.readouterr()
    assert status == (2 if kind == "wrong flag" else 1)
    assert output.err.startswith(message.format(**places))
    assert output.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not list((tmp_path / "cache").glob("*.part")) if (tmp_path / "cache").exists() else True


def test_a_resumed_run_refuses_another_architecture(
    write_tiny: WriteTiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_tiny(tmp_path / "data")
    flags = ["--data", str(data), "--runs-folder", str(tmp_path / "runs"), "--cache-folder", str(tmp_path / "cache")]
    flags += ["--architecture", "tiny", "--init", "none", "--epochs", "1", "--image-size", "32", "--batch-size", "8"]
    assert main([*flags, "--name", "r", "--no-tensorboard"]) == 0
    content = torch.load(tmp_path / "runs" / "r" / "last.pt", weights_only=True)
    torch.save(content | {"architecture": "resnet34"}, tmp_path / "runs" / "r" / "last.pt")
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    capsys.readouterr()
    resume = ["--runs-folder", str(tmp_path / "runs"), "--name", "r", "--resume"]
    assert run_command_line(lambda: main(resume)) == 1
    path = tmp_path / "runs" / "r" / "last.pt"
    assert capsys.readouterr().err == f"error: {path}: expected architecture tiny, found resnet34\n"
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before
