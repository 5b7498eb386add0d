"""Cross-validation in one command, resumable, with metrics that add up; and several workers agree with one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime.bundle.classes import ham10000
from train.command_line import main
from train.configuration import TrainingConfiguration
from train.data.split import read_split
from train.folds import cross_fitted, train_folds
from train.metrics.classification import balanced_accuracy, expected_calibration_error
from train.metrics.temperature import apply_temperature

pytestmark = pytest.mark.slow

Quick = Callable[..., TrainingConfiguration]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_folds_report_mean_and_deviation(
    quick: Quick, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = train_folds(quick(runs_folder=str(tmp_path), name="cv", folds=3, epochs=1))
    summary = json.loads((tmp_path / "cv" / "folds.json").read_text())
    values = [row["balanced_accuracy"] for row in summary["folds"]]
    assert len(values) == 3
    assert summary["mean"]["balanced_accuracy"] == pytest.approx(np.mean(values))
    assert summary["standard_deviation"]["balanced_accuracy"] == pytest.approx(np.std(values, ddof=1))
    assert result.mean["expected_calibration_error_after_scaling"] >= 0
    validated, counts = [], []
    for fold in range(3):
        folder = tmp_path / "cv" / f"fold-{fold}"
        answers = np.load(folder / "validation.npz")
        subsets = read_split(folder / "split.csv").subsets
        assert [subsets[image_id] for image_id in answers["image_ids"]] == ["validation"] * len(answers["truth"])
        validated += list(answers["image_ids"])
        counts.append(len(answers["truth"]))
        assert balanced_accuracy(answers["truth"], answers["logits"].argmax(1)) == pytest.approx(values[fold])
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        assert summary["folds"][fold]["log_loss"] == pytest.approx(last["log_loss"], rel=0.05), "the same size twice"
    assert len(validated) == len(set(validated)) == summary["images"]
    right = [row["accuracy"] * count for row, count in zip(summary["folds"], counts, strict=True)]
    pooled = summary["pooled"]
    by_class = [pooled[f"sensitivity/{code}"] for code in ham10000().codes]
    assert pooled["accuracy"]["value"] == pytest.approx(sum(right) / len(validated))
    assert pooled["balanced_accuracy"]["value"] == pytest.approx(np.mean([one["value"] for one in by_class]))
    assert pooled["log_loss"]["low"] < pooled["log_loss"]["value"] < pooled["log_loss"]["high"]
    assert (tmp_path / "latest").read_text() == "cv/fold-2\n"
    capsys.readouterr()
    monkeypatch.setattr("train.learning.loop.learn", None)  # everything is done: resuming must not train
    assert main(["--runs-folder", str(tmp_path), "--name", "cv", "--resume"]) == 0
    output = capsys.readouterr().out
    assert "mean ± standard deviation over 3 folds" in output
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in output


def test_cross_fitted_error_calibrates_the_overconfident() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 7, 4000)
    logits = generator.normal(0, 1, (4000, 7))
    logits[np.arange(4000), truth] += 1.5
    before = expected_calibration_error(truth, apply_temperature(5 * logits))
    assert expected_calibration_error(truth, cross_fitted(5 * logits, truth)) < 0.05 < before


def test_two_workers_validate_like_one(quick: Quick, tmp_path: Path) -> None:
    """``torchrun`` with two processes against one process that does each batch in two parts."""
    backbone = {"architecture": "mobilenet_v3_small", "init": "none", "augmentation": "strong", "image_size": 32}
    steps = {
        "epochs": 1,
        "batch_size": 14,
        "learning_rate": 1e-3,
        "new_layer_learning_rate": 1e-3,
        "warmup_epochs": 0.0,
    }
    common = (
        backbone | steps | {"runs_folder": str(tmp_path), "precision": "fp32", "threads": 1, "patient_metadata": True}
    )
    configuration = quick(**common, name="one", accumulate=2)
    two = quick(**common, name="two", accumulate=1)
    module = [sys.executable, "-m", "train"]
    workers = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for command, settings in ((module, configuration), ([*workers, "-m", "train"], two)):
        output = run_in_group([*command, *as_flags(settings)], environment, tmp_path)
    assert output.count("epoch 1/1") == 1, "only the first worker writes log output"
    rows = [json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("one", "two")]
    for name in ("training_loss", "log_loss", "accuracy", "balanced_accuracy", "brier_score"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=2e-2, abs=2e-2), name


def as_flags(configuration: TrainingConfiguration) -> list[str]:
    default = TrainingConfiguration()
    flags = []
    for name, value in msgspec.structs.asdict(configuration).items():
        if value != getattr(default, name):
            flag = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                flags.append(flag if value else flag.replace("--", "--no-", 1))
            else:
                flags += [flag, str(value)]
    return flags


def run_in_group(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """Run a command and return its output; on a timeout end its children too."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=500)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, errors[-3000:]
    return output
