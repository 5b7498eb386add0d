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
from msgspec.structs import asdict

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import ExportError, run_command_line
from edge_runtime.settings import Setting, settings_of
from export import pipeline
from export.__main__ import build_parser, configuration_from, main
from export.bundle.code_version import code_version, refuse_uncommitted
from export.bundle.writer import new_bundle
from export.configuration import ExportConfiguration, ExportSettings, Tolerances
from tests.export.conftest import write_data, write_run
from train.data.split import Split, read_split, write_split
from train.model.checkpoint import load_checkpoint, save_checkpoint


def run(*arguments: str | Path) -> int:
    """Run the command line with arguments."""
    return run_command_line(lambda: main([*map(str, arguments)]))


def failure(
    capfd: pytest.CaptureFixture[str],
    checkpoint: Path,
    output: Path,
    *more: str | Path,
) -> str:
    """Export, expect failure with one line on stderr, nothing else there and no trace on disk; return the line."""
    before = sorted(output.parent.iterdir()) if output.parent.is_dir() else []
    assert run("--checkpoint", checkpoint, "--output", output, *more) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert (sorted(output.parent.iterdir()) if output.parent.is_dir() else []) == before
    return line


@pytest.fixture
def own_run(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder that a test may damage; returns the checkpoint."""
    shutil.copytree(checkpoint.parent, tmp_path / "run")
    return tmp_path / "run" / "best.pt"


def test_damaged_checkpoint(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own_run.write_bytes(own_run.read_bytes()[:5000])
    assert str(own_run) in failure(capfd, own_run, tmp_path / "models" / "one")


def test_missing_checkpoint(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = failure(capfd, tmp_path / "none.pt", tmp_path / "models" / "one")
    assert "none.pt: cannot be read" in line


def test_wrong_class_list(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = torch.load(own_run, weights_only=True)
    torch.save({**content, "classes": list(reversed(ham10000().codes))}, own_run)
    line = failure(capfd, own_run, tmp_path / "models" / "one")
    assert "best.pt: expected classes with codes and names: " in line


def test_single_class_of_calibration_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data", classes=("nv",))
    checkpoint = write_run(tmp_path / "run", data, "shallow_mobilenet", fit=False)
    line = failure(capfd, checkpoint, tmp_path / "models" / "one")
    assert "calibration: expected training images of several classes, found only those of one class" in line


def test_no_training_images_to_calibrate_on(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    split = read_split(own_run.with_name("split.csv"))
    emptied = Split({name: "test" if subset == "train" else subset for name, subset in split.subsets.items()})
    write_split(emptied, own_run.with_name("split.csv"))
    save_checkpoint(replace(load_checkpoint(own_run), split_hash=emptied.hash), own_run)
    line = failure(capfd, own_run, tmp_path / "models" / "one")
    assert line == "error: calibration: expected images in the training set of the split, found none"


def test_data_that_the_split_does_not_know(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "others")
    table = data / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_", "OTHER_"))
    for path in data.rglob("ISIC_*.jpg"):
        path.rename(path.with_name(path.name.replace("ISIC_", "OTHER_")))
    line = failure(capfd, own_run, tmp_path / "models" / "one", "--data", data)
    assert line == "error: calibration: expected images in the training set of the split, found none"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--nope", "unrecognized arguments: --nope"),
        ("--calibration-images 0", "argument --calibration-images: expected a whole number of at least 2, found 0"),
        ("--selection-images 1", "argument --selection-images: expected a whole number of at least 2, found 1"),
        ("--validation-images x", "argument --validation-images: expected a whole number of at least 2, found x"),
        ("--qat-steps 0", "argument --qat-steps: expected a whole number of at least 1, found 0"),
        ("--threads 0", "argument --threads: expected a whole number of at least 1, found 0"),
        ("--tolerance-accuracy-loss 2", "argument --tolerance-accuracy-loss: expected a number from 0 to 1, found 2"),
    ],
)
def test_wrong_usage_is_one_line(flags: str, complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--checkpoint", "best.pt", "--output", "bundle", *flags.split()) == 2
    assert capfd.readouterr().err == f"error: {complaint} (see python -m export --help)\n"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--compact", "--precisions", "fp32"], "--compact keeps the int8 variants: expected int8 among --precisions"),
        (["--formats", "onnx", "--precisions", "dynamic"],
         "--precisions dynamic is for TFLite alone: expected tflite among --formats"),
    ],
)  # fmt: skip
def test_flags_that_do_not_go_together(
    flags: list[str], complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert failure(capfd, tmp_path / "best.pt", tmp_path / "models" / "one", *flags) == f"error: {complaint}"


def test_published_bundles_come_from_a_commit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="must come from a committed tree, found no git checkout"):
        refuse_uncommitted(tmp_path)
    (tmp_path / "code.py").write_text("print(1)")
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "code.py"], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    refuse_uncommitted(tmp_path)
    assert "dirty" not in code_version(tmp_path)
    (tmp_path / "code.py").write_text("print(2)")
    assert code_version(tmp_path).endswith("-dirty)")
    monkeypatch.setattr(pipeline, "refuse_uncommitted", lambda: refuse_uncommitted(tmp_path))
    line = failure(capfd, tmp_path / "best.pt", tmp_path / "models" / "one", "--publish")
    assert line == (
        "error: --publish: a bundle to be published must come from a committed tree, found uncommitted changes"
    )


def test_split_of_another_run(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    split = own_run.with_name("split.csv")
    split.write_text(split.read_text().replace("validation", "test", 1))
    assert "split.csv: expected the split" in failure(capfd, own_run, tmp_path / "models" / "one")


def test_data_that_cannot_be_found(own_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own_run.with_name("data.json").unlink()
    line = failure(capfd, own_run, tmp_path / "models" / "one")
    assert "data.json: expected the folder of the training data; name it with --data" in line


def test_read_only_output(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    models.write_text("a file where the folder should be")  # refuses writing for root too, unlike permissions
    line = failure(capfd, checkpoint, models / "one")
    assert "models/one: cannot be written: File exists" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_write_permission(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    models.mkdir(mode=0o500)
    assert "cannot be written: Permission denied" in failure(capfd, checkpoint, models / "one")


def test_read_only_disk(checkpoint: Path, small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (small_disk / "models").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    line = failure(capfd, checkpoint, small_disk / "models" / "one")
    assert "models/one: cannot be written: Read-only file system" in line


def test_output_that_is_no_bundle(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    line = failure(capfd, checkpoint, tmp_path / "home")
    assert "expected a bundle or an empty place, found a folder without manifest.json" in line
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_missing_converter(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None if name == "litert_torch" else object())
    line = failure(capfd, checkpoint, tmp_path / "models" / "one")
    assert "litert-torch is not installed: pip install -r requirements/export.txt, or leave tflite out" in line


@pytest.mark.slow
def test_kill_during_a_whole_export(data_folder: Path, tmp_path: Path, run_environment: dict[str, str]) -> None:
    checkpoint = write_run(tmp_path / "run", data_folder, "resnet18", fit=False)
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


def other_value(setting: Setting) -> tuple[list[str], object]:
    """Return a setting's flag with a value that is not its default, and what the configuration then holds."""
    if setting.many:
        return [setting.flag, str(setting.choices[0])], (setting.choices[0],)
    if setting.choices:
        value = next(choice for choice in setting.choices if choice != setting.default)
        return [setting.flag, str(value)], value
    if isinstance(setting.default, bool):
        return [setting.flag], True
    if isinstance(setting.default, float):
        return [setting.flag, "0.25"], 0.25
    if isinstance(setting.default, int) or setting.name == "validation_images":
        return [setting.flag, "37"], 37
    return [setting.flag, "some/where"], Path("some/where")


def test_every_flag_reaches_the_configuration() -> None:
    given: list[str] = []
    expected: dict[str, object] = {}
    for setting in (*settings_of(ExportSettings), *settings_of(Tolerances)):
        flags, expected[setting.name] = other_value(setting)
        given += flags
    configuration = configuration_from(build_parser().parse_args(given))
    found = asdict(configuration) | asdict(configuration.tolerances)
    del found["tolerances"]
    assert len(found) >= 26, "all flags, and not an empty list"
    assert found == expected | {"precisions": ("fp32", "dynamic")}
    assert asdict(ExportConfiguration(checkpoint=Path("a"), output=Path("b"))).keys() - {"tolerances"} <= found.keys()


def test_formats_and_precisions_are_in_order_and_hold_fp32() -> None:
    flags = ["--checkpoint", "a", "--output", "b", "--formats", "tflite", "onnx", "onnx", "--precisions", "int8"]
    configuration = configuration_from(build_parser().parse_args(flags))
    assert configuration.formats == ("onnx", "tflite")
    assert configuration.precisions == ("fp32", "int8")
