"""Calibration writes temperature, thresholds and outlier score into the checkpoint, and leaves its weights alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.bundle.classes import ham10000
from train.calibrate import main
from train.calibration.fit import CalibrationData, FitSettings, fit_calibration
from train.calibration.prior_shift import prior_shift_table, shift_prior
from train.calibration.sample import Sample, evenly_spaced, pooled_and_logits, shifted_sample
from train.data.folder import load_records
from train.data.split import make_split, write_split
from train.demo.dataset import write_demo_dataset
from train.evaluation.data import read_evaluation_data
from train.evaluation.subject import CheckpointSubject
from train.metrics.temperature import apply_temperature, fit_temperature
from train.model.architectures import build_model
from train.model.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint, save_checkpoint
from train.model.outlier_score import HeadWithOutlierScore, head_for_export

pytestmark = pytest.mark.slow

SIZE = 48


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a demo set, and a run of an untrained network that was calibrated by the command."""
    folder = tmp_path_factory.mktemp("work")
    demo = write_demo_dataset(folder / "demo", 50, seed=4)
    run = folder / "runs" / "first"
    run.mkdir(parents=True)
    split = make_split(load_records(demo))
    write_split(split, run / "split.csv")
    (run / "data.json").write_text(json.dumps({"folder": str(demo), "name": "demo"}))
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        architecture="resnet18",
        classes=ham10000(),
        state_dict=build_model("resnet18", classes=7).state_dict(),
        input_size=SIZE,
        config={},
        epoch=1,
        metrics={},
        split_hash=split.hash,
        data_name="demo",
        data_fingerprint="0" * 64,
        demo=True,
        licence="none",
    )
    save_checkpoint(checkpoint, run / "best.pt")
    save_checkpoint(checkpoint, run / "before.pt")
    assert main([*flags(folder), "--coverage", "0.8", "--false-positive-rate", "0.1"]) == 0
    return folder


def flags(folder: Path) -> list[str]:
    return ["--run", "first", "--runs-folder", str(folder / "runs"), "--cache-folder", str(folder / "cache")]


def subset(folder: Path, name: str) -> Sample:
    facts = CheckpointSubject(folder / "runs" / "first" / "best.pt").facts
    data = read_evaluation_data(facts, None, name, split_file=None, runs=folder / "runs", cache=folder / "cache")
    return Sample(data.images, data.records)


def test_the_temperature_is_that_of_the_validation_set(work):
    checkpoint = load_checkpoint(work / "runs" / "first" / "best.pt")
    validation = subset(work, "validation")
    model = build_checkpoint_model(checkpoint)
    _, logits = pooled_and_logits(model, checkpoint, validation, "test")
    truth = np.array([record.label for record in validation.records])
    assert checkpoint.temperature == pytest.approx(fit_temperature(logits, truth), rel=1e-5)
    confidence = apply_temperature(logits, checkpoint.temperature).max(axis=1)
    assert checkpoint.coverage == 0.8
    assert 0.8 <= (confidence >= checkpoint.not_sure_below - 1e-9).mean() <= 0.8 + 1.5 / len(truth)


def test_the_outlier_threshold_keeps_its_rate_and_reaches_the_export(work):
    checkpoint = load_checkpoint(work / "runs" / "first" / "best.pt")
    subject = CheckpointSubject(work / "runs" / "first" / "best.pt")
    scores = subject.outlier_scores(subset(work, "validation").images[:])
    above = (scores > checkpoint.extra["not_lesion_above"]).mean()
    assert above <= 0.1
    assert checkpoint.extra["false_alarm_rate"] == pytest.approx(above, abs=1 / len(scores))
    head = head_for_export(build_checkpoint_model(checkpoint).head, checkpoint)
    assert isinstance(head, HeadWithOutlierScore)


def test_weights_and_everything_else_stay(work):
    before, after = (load_checkpoint(work / "runs" / "first" / name) for name in ("before.pt", "best.pt"))
    assert all(torch.equal(before.state_dict[name], tensor) for name, tensor in after.state_dict.items())
    assert (before.split_hash, before.epoch, before.demo) == (after.split_hash, after.epoch, after.demo)


def test_a_checkpoint_without_a_score_exports_its_plain_head(work):
    checkpoint = load_checkpoint(work / "runs" / "first" / "before.pt")
    head = build_checkpoint_model(checkpoint).head
    assert head_for_export(head, checkpoint) is head
    assert CheckpointSubject(work / "runs" / "first" / "before.pt").outlier_scores(np.zeros((1, SIZE, SIZE, 3))) is None


def test_evenly_spaced_positions_reach_from_first_to_last():
    assert evenly_spaced(range(100, 110), 4) == [100, 103, 106, 109]
    assert evenly_spaced([5, 7], 4) == [5, 7]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--coverage", "0", "a number above 0 and of at most 1"),
        ("--coverage", "1.2", "a number above 0 and of at most 1"),
        ("--false-positive-rate", "1", "a number of at least 0 and below 1"),
        ("--camera-shifts", "21", "a whole number from 0 to 20"),
        ("--camera-shifts", "0.5", "a whole number from 0 to 20"),
        ("--prior-shift", "3", "a number from -1 to 2"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(work, capfd, flag, value, expected):
    with pytest.raises(SystemExit) as stopped:
        main([*flags(work), flag, value])
    assert stopped.value.code == 2
    printed = capfd.readouterr()
    assert printed.err.splitlines() == [
        f"error: argument {flag}: expected {expected}, found {value} (see python -m train.calibrate --help)"
    ]
    assert not printed.out


def test_the_prior_shift_adds_log_frequencies_and_does_not_add_up(work):
    before = load_checkpoint(work / "runs" / "first" / "before.pt")
    counts = np.array([10, 20, 30, 0, 40, 100, 50])
    bias = "head.classifier.bias"
    shifted = shift_prior(before, counts, 0.5)
    expected = before.state_dict[bias].numpy() + 0.5 * np.log(np.maximum(counts, 1) / counts.sum())
    np.testing.assert_allclose(shifted.state_dict[bias].numpy(), expected, rtol=1e-5)
    again = shift_prior(shift_prior(shifted, counts, 1.0), counts, 0.5)
    np.testing.assert_allclose(again.state_dict[bias].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(
        shift_prior(again, counts, 0.0).state_dict[bias].numpy(), before.state_dict[bias].numpy(), atol=1e-6
    )


def test_the_table_of_prior_shifts_says_what_the_shifted_checkpoint_predicts():
    generator = np.random.default_rng(0)
    truth = np.arange(210) % 7
    logits = generator.normal(size=(210, 7)) + 2.0 * np.eye(7)[truth]
    counts = np.array([1, 2, 3, 4, 5, 80, 5])
    row = next(
        line for line in prior_shift_table(logits, truth, counts, 0.0).splitlines() if line.startswith("       1.00")
    )
    predicted = (logits + np.log(counts / counts.sum())).argmax(axis=1)
    assert row.split()[1] == f"{(predicted == truth).mean():.1%}"


def test_camera_shifts_take_part_in_the_temperature(work):
    path = work / "runs" / "first" / "best.pt"
    checkpoint, validation, training = load_checkpoint(path), subset(work, "validation"), subset(work, "train")
    counts = np.bincount(training.truth, minlength=7)
    fitted = fit_calibration(checkpoint, CalibrationData(training, validation, counts), FitSettings(camera_shifts=1))
    model = build_checkpoint_model(checkpoint)
    copies = [validation, shifted_sample(validation, 0)]
    assert not np.array_equal(copies[0].images[:], copies[1].images)
    logits = np.concatenate([pooled_and_logits(model, checkpoint, one, "test")[1] for one in copies])
    truth = np.array([record.label for record in validation.records])
    assert fitted.temperature == pytest.approx(fit_temperature(logits, np.tile(truth, 2)), rel=1e-4)


def test_the_prior_shift_of_the_command_is_in_the_checkpoint(work, tmp_path, capsys):
    run = tmp_path / "runs" / "first"
    shutil.copytree(work / "runs" / "first", run)
    before = load_checkpoint(run / "best.pt")
    shifted = ["--runs-folder", str(tmp_path / "runs"), "--cache-folder", str(work / "cache"), "--prior-shift", "0.5"]
    assert main(["--run", "first", *shifted]) == 0
    after = load_checkpoint(run / "best.pt")
    counts = np.bincount(subset(work, "train").truth, minlength=7)
    expected = shift_prior(before, counts, 0.5).state_dict["head.classifier.bias"]
    torch.testing.assert_close(after.state_dict["head.classifier.bias"], expected)
    assert "0.50" in next(line for line in capsys.readouterr().out.splitlines() if "this checkpoint" in line)
