"""What a user can get wrong: one line that says what, a non-zero exit, and nothing written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.errors import run_command_line
from export import pipeline
from export.__main__ import build_parser, configuration_from, main
from export.bundle.writer import new_bundle
from tests.export.conftest import write_data, write_run
from train.data.split import Split, read_split, write_split
from train.model.checkpoint import load_checkpoint, save_checkpoint


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command line with arguments."""
    monkeypatch.setattr("sys.argv", ["python -m export", *map(str, arguments)])
    return run_command_line(main)


def failure(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    output: Path,
    *more: str | Path,
) -> str:
    """Export, expect failure with one line on stderr and no trace on disk, and return the line."""
    before = sorted(output.parent.iterdir()) if output.parent.is_dir() else []
    assert run(monkeypatch, "--checkpoint", checkpoint, "--output", output, *more) == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert (sorted(output.parent.iterdir()) if output.parent.is_dir() else []) == before
    return line


@pytest.fixture
def own_run(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder that a test may damage; returns the checkpoint."""
    shutil.copytree(checkpoint.parent, tmp_path / "run")
    return tmp_path / "run" / "best.pt"


def test_damaged_checkpoint(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_run.write_bytes(own_run.read_bytes()[:5000])
    assert str(own_run) in failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one")


def test_missing_checkpoint(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = failure(capfd, monkeypatch, tmp_path / "none.pt", tmp_path / "models" / "one")
    assert "none.pt: cannot be read" in line


def test_wrong_class_list(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = torch.load(own_run, weights_only=True)
    torch.save({**content, "classes": list(reversed(CLASS_CODES))}, own_run)
    line = failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one")
    assert "expected classes akiec bcc bkl df mel nv vasc, found vasc nv mel df bkl bcc akiec" in line


def test_single_class_of_calibration_images(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data", classes=("nv",))
    checkpoint = write_run(tmp_path / "run", data, "mobilenet_v3_small")
    line = failure(capfd, monkeypatch, checkpoint, tmp_path / "models" / "one")
    assert "calibration: expected training images of several classes, found only nv" in line


def test_no_training_images_to_calibrate_on(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = read_split(own_run.with_name("split.csv"))
    emptied = Split({name: "test" if subset == "train" else subset for name, subset in split.subsets.items()})
    write_split(emptied, own_run.with_name("split.csv"))
    save_checkpoint(replace(load_checkpoint(own_run), split_hash=emptied.hash), own_run)
    line = failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one")
    assert line == "error: calibration: expected images in the training set of the split, found none"


def test_data_that_the_split_does_not_know(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "others")
    table = data / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_", "OTHER_"))
    for path in data.rglob("ISIC_*.jpg"):
        path.rename(path.with_name(path.name.replace("ISIC_", "OTHER_")))
    line = failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one", "--data", data)
    assert line == "error: calibration: expected images in the training set of the split, found none"


def test_calibration_of_no_images_is_refused(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one", "--calibration-images", "0")
    assert "--calibration-images: expected at least 2, found 0" in line


def test_split_of_another_run(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = own_run.with_name("split.csv")
    split.write_text(split.read_text().replace("validation", "test", 1))
    assert "split.csv: expected the split" in failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one")


def test_data_that_cannot_be_found(
    own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_run.with_name("data.json").unlink()
    line = failure(capfd, monkeypatch, own_run, tmp_path / "models" / "one")
    assert "data.json: expected the folder of the training data; name it with --data" in line


def test_read_only_output(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    models.write_text("a file where the folder should be")  # refuses writing for root too, unlike permissions
    line = failure(capfd, monkeypatch, checkpoint, models / "one")
    assert "models/one: cannot be written: File exists" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_write_permission(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    models.mkdir(mode=0o500)
    assert "cannot be written: Permission denied" in failure(capfd, monkeypatch, checkpoint, models / "one")


def test_read_only_disk(
    checkpoint: Path, small_disk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "models").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    line = failure(capfd, monkeypatch, checkpoint, small_disk / "models" / "one")
    assert "models/one: cannot be written: Read-only file system" in line


def test_output_that_is_no_bundle(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    line = failure(capfd, monkeypatch, checkpoint, tmp_path / "home")
    assert "expected a bundle or an empty place, found a folder without manifest.json" in line
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_missing_converter(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None if name == "litert_torch" else object())
    line = failure(capfd, monkeypatch, checkpoint, tmp_path / "models" / "one")
    assert "litert-torch is not installed: pip install -r requirements/export.txt, or leave tflite out" in line


def test_kill_during_a_whole_export(checkpoint: Path, tmp_path: Path, run_environment: dict[str, str]) -> None:
    output = tmp_path / "models" / "one"
    with new_bundle(output) as folder:
        (folder / "manifest.json").write_text("the old one")
    flags = ["--checkpoint", checkpoint, "--output", output, "--formats", "onnx", "--precisions", "fp32"]
    process = subprocess.Popen(
        [sys.executable, "-m", "export", *flags], env=run_environment, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    while process.poll() is None and not list(output.parent.glob(".one.partial-*/features.fp32.onnx")):
        time.sleep(0.05)
    assert process.poll() is None, "the export ended before it could be killed"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in output.iterdir()] == ["manifest.json"]
    assert (output / "manifest.json").read_text() == "the old one"
    with new_bundle(output) as folder:
        (folder / "manifest.json").write_text("the next one")
    assert [path.name for path in output.parent.iterdir()] == ["one"]


def test_every_flag_reaches_the_configuration() -> None:
    arguments = build_parser().parse_args(
        [
            "--checkpoint",
            "a.pt",
            "--output",
            "b",
            "--formats",
            "onnx",
            "--precisions",
            "int8",
            "--tolerance-int8-agreement",
            "0.5",
            "--calibration-images",
            "9",
            "--calibrator",
            "mse",
        ]
    )
    configuration = configuration_from(arguments)
    assert configuration.artefacts() == [("onnx", "fp32"), ("onnx", "int8")]
    assert configuration.tolerances.int8_agreement == 0.5
    assert (configuration.calibration_images, configuration.calibrator) == (9, "mse")
