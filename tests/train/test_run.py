"""Whole runs on tiny images through the command line, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import CheckpointError, DataError
from train.augmentation.batch import resize_batch
from train.command_line import main
from train.configuration import TrainingConfiguration
from train.data.dataset import hide_metadata, make_metadata_spec
from train.data.folder import load_records
from train.data.prepare import prepare_data
from train.data.records import encode_records
from train.data.split import read_split
from train.learning.schedule import learning_rate_factor, make_optimizer, set_learning_rates, set_trainable
from train.model.architectures import build_model
from train.model.checkpoint import build_checkpoint_model, load_checkpoint
from train.run import train_run

Quick = Callable[..., TrainingConfiguration]


def test_command_line_writes_the_run(
    quick: Quick, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_ham10000: Path
) -> None:
    plain = quick()
    flags = ["--data", str(tiny_ham10000), "--runs-folder", str(tmp_path), "--cache-folder", plain.cache_folder]
    flags += ["--architecture", "tiny", "--init", "none", "--epochs", "2", "--image-size", "32", "--batch-size", "8"]
    flags += ["--precision", "fp32", "--validation-fraction", "0.25", "--test-fraction", "0.25"]
    assert main([*flags, "--name", "first"]) == 0
    output = capsys.readouterr()
    assert "epoch 2/2  loss " in output.out
    assert "balanced accuracy" in output.out
    assert output.err == ""
    folder = tmp_path / "first"
    expected = "best.pt classes.toml config.json data.json data_report.json last.pt metrics.jsonl split.csv tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == expected.split()
    assert (tmp_path / "latest").read_text() == "first\n"
    assert json.loads((folder / "data.json").read_text())["folder"] == str(tiny_ham10000)
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"training_loss", "accuracy", "balanced_accuracy", "weighted_f1", "macro_f1"} <= set(rows[0])
    checkpoint = load_checkpoint(folder / "best.pt")
    assert checkpoint.split_hash == read_split(folder / "split.csv").hash
    assert not checkpoint.demo
    assert checkpoint.licence == "unknown", "the data set states none"
    assert list((folder / "tensorboard").glob("events.*"))


def test_resume_by_name_keeps_the_configuration(quick: Quick, tmp_path: Path) -> None:
    train_run(quick(runs_folder=str(tmp_path), name="r"))
    with pytest.raises(DataError, match="--epochs: a resumed run keeps 2, found 5"):
        main(["--runs-folder", str(tmp_path), "--name", "r", "--resume", "--epochs", "5"])
    assert main(["--runs-folder", str(tmp_path), "--name", "r", "--resume"]) == 0
    saved = json.loads((tmp_path / "r" / "config.json").read_text()) | {"colour": 1}
    (tmp_path / "r" / "config.json").write_text(json.dumps(saved))
    with pytest.raises(DataError, match=r"config\.json: unknown key 'colour'"):
        main(["--runs-folder", str(tmp_path), "--name", "r", "--resume"])


def test_learns_what_is_easy(quick: Quick, tmp_path: Path) -> None:
    rates = {"learning_rate": 0.02, "new_layer_learning_rate": 0.02}
    result = train_run(quick(runs_folder=str(tmp_path), epochs=12, warmup_epochs=0.0, **rates))
    assert result.metrics["balanced_accuracy"] > 0.8


def test_best_is_the_best_epoch(quick: Quick, tmp_path: Path) -> None:
    train_run(quick(runs_folder=str(tmp_path), name="b", epochs=5, learning_rate=0.01))
    rows = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: (row["balanced_accuracy"], -row["epoch"]))
    assert load_checkpoint(tmp_path / "b" / "best.pt").epoch == best["epoch"]
    assert load_checkpoint(tmp_path / "b" / "last.pt").epoch == 5


def test_figures_at_another_size_do_not_compete(quick: Quick, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), epochs=4, final_epochs=1, final_image_size=48, learning_rate=0.0)
    train_run(configuration)
    assert load_checkpoint(configuration.run_folder / "best.pt").epoch == 5


def test_early_stopping(quick: Quick, tmp_path: Path) -> None:
    still = {"learning_rate": 0.0, "new_layer_learning_rate": 0.0, "select": "accuracy"}
    configuration = quick(runs_folder=str(tmp_path), epochs=30, patience=2, ema=0.5, **still)
    train_run(configuration)
    rows = (configuration.run_folder / "metrics.jsonl").read_text().splitlines()
    assert len(rows) < 10


def test_accumulated_batches_learn_as_whole_ones(quick: Quick, tmp_path: Path) -> None:
    """With normalisation frozen, a batch in parts gives the gradient of the batch in one piece."""
    results = []
    backbone = build_model("tiny", classes=7).features.state_dict()
    torch.save(backbone, tmp_path / "backbone.pth")  # not new, so frozen: normalisation keeps its statistics
    still = {"init": str(tmp_path / "backbone.pth"), "augmentation": "none", "freeze_epochs": 2}
    for name, parts in (("whole", 1), ("parts", 4)):
        configuration = quick(runs_folder=str(tmp_path), name=name, accumulate=parts, **still)
        train_run(configuration)
        results.append(load_checkpoint(configuration.run_folder / "last.pt").state_dict)
    for name in results[0]:
        assert torch.allclose(results[0][name], results[1][name], atol=1e-5), name
    assert torch.equal(results[0]["features.stem.0.weight"], backbone["stem.0.weight"])


def test_fit_on_all_learns_from_every_image(quick: Quick) -> None:
    data = prepare_data(quick(fit_on="all"))
    assert len(data.dataset("train", "validation", "test")) == 56


def test_given_split_is_used(quick: Quick, tmp_path: Path) -> None:
    train_run(quick(runs_folder=str(tmp_path), name="a", split_seed=9))
    path = tmp_path / "a" / "split.csv"
    assert prepare_data(quick(split=str(path))).split == read_split(path)


def test_folds_of_a_run(quick: Quick) -> None:
    validated: list[str] = []
    for fold in range(3):
        split = prepare_data(quick(folds=3, fold=fold)).split
        validated += [image_id for image_id, subset in split.subsets.items() if subset == "validation"]
    assert len(validated) == len(set(validated))


def test_limited_images_keep_every_class(quick: Quick) -> None:
    data = prepare_data(quick(limit_images=28))
    assert len(data.records) == 28
    assert {record.label for record in data.records} == set(range(7))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_new_layers_get_their_own_rate(name: str) -> None:
    rates = {"learning_rate": 0.1, "new_layer_learning_rate": 1.0, "layer_decay": 0.5}
    configuration = TrainingConfiguration(optimizer=name, **rates)  # type: ignore[arg-type]
    model = build_model("tiny", classes=7)
    optimizer = make_optimizer(model, (), configuration)
    rates = {id(one): group["peak_rate"] for group in optimizer.param_groups for one in group["params"]}
    assert rates[id(model.head.classifier.weight)] == 1.0
    assert rates[id(model.features.body[0].weight)] == pytest.approx(0.1)
    assert rates[id(model.features.stem[0].weight)] == pytest.approx(0.05)
    optimizer = make_optimizer(model, ("features.body.0.weight",), configuration)
    rates = {id(one): group["peak_rate"] for group in optimizer.param_groups for one in group["params"]}
    assert rates[id(model.features.body[0].weight)] == 1.0
    decays = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    assert decays[id(model.head.classifier.bias)] == 0
    set_learning_rates(optimizer, 0.5, only_new=True)
    now = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert now[id(model.head.classifier.weight)] == 0.5
    assert now[id(model.features.stem[0].weight)] == 0
    model.train()
    set_trainable(model, optimizer, only_new=True)
    assert not model.features.stem[0].weight.requires_grad
    assert not model.features.stem[1].training
    model.train()
    set_trainable(model, optimizer, only_new=False)
    assert model.features.stem[0].weight.requires_grad
    assert model.features.stem[1].training


def test_rate_warms_up_and_ends_at_zero() -> None:
    configuration = TrainingConfiguration(epochs=8, final_epochs=2, warmup_epochs=1.0)
    factors = np.array([learning_rate_factor(step, 10, configuration) for step in range(100)])
    assert np.all(np.diff(factors[:11]) > 0)
    assert factors[10] == 1
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[-1] < 0.001


def test_patient_metadata_is_learned_and_may_be_hidden(quick: Quick, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), patient_metadata=True)
    train_run(configuration)
    checkpoint = load_checkpoint(configuration.run_folder / "best.pt")
    assert checkpoint.metadata_spec == PatientMetadataSpec(100.0, ["female"], ["back"])
    model = build_checkpoint_model(checkpoint)
    images = resize_batch(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 32)
    assert torch.equal(model(images), model(images, torch.zeros(1, 4)))


def test_hidden_metadata_goes_in_whole_groups(tiny_ham10000: Path) -> None:
    records = load_records(tiny_ham10000)
    spec = make_metadata_spec(records)
    rows = torch.from_numpy(encode_records(records, spec)).repeat(20, 1)
    hidden = hide_metadata(rows, spec, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(hide_metadata(rows, spec, 0.0, torch.Generator()), rows)
    known = rows[:, 0] == 1
    assert torch.equal(hidden[known, 0] == 0, hidden[known, 1] == 0), "age goes with its flag"
    assert 0.4 < float((hidden[known, 0] == 0).float().mean()) < 0.6
    assert 0.4 < float((hidden[:, 3] == 0).float().mean()) < 0.6


@pytest.mark.parametrize("predictions", ["mean", "sampled"])
def test_distillation_follows_the_teacher(quick: Quick, tmp_path: Path, predictions: str) -> None:
    rates = {"learning_rate": 0.02, "new_layer_learning_rate": 0.02, "epochs": 8, "warmup_epochs": 0.0}
    train_run(quick(runs_folder=str(tmp_path), name="teacher", **rates))
    teacher = str(tmp_path / "teacher" / "best.pt")
    result = train_run(
        quick(
            runs_folder=str(tmp_path),
            name="pupil",
            teachers=f"{teacher}, {teacher}",
            teacher_predictions=predictions,
            distillation_weight=1.0,  # nothing but the teachers' predictions
            **(rates | {"seed": 1}),
        )
    )
    assert result.metrics["balanced_accuracy"] > 0.4, "chance is 0.14"
    with pytest.raises(CheckpointError, match=r"none\.pt: cannot be read"):
        train_run(quick(runs_folder=str(tmp_path), name="orphan", teachers="none.pt"))


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "logit-adjusted"])
def test_each_loss_and_bf16_trains(quick: Quick, tmp_path: Path, loss: str) -> None:
    precision = "bf16" if loss == "focal" else "fp32"
    result = train_run(
        quick(runs_folder=str(tmp_path), loss=loss, epochs=1, precision=precision, augmentation="strong")
    )
    assert np.isfinite(result.metrics["training_loss"])


def test_demo_is_marked(quick: Quick, tiny_ham10000: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_ham10000, tmp_path / "demo")
    (tmp_path / "demo" / "DEMO.txt").write_text("phantoms")
    configuration = quick(data=str(tmp_path / "demo"), runs_folder=str(tmp_path), epochs=1)
    train_run(configuration)
    checkpoint = load_checkpoint(configuration.run_folder / "best.pt")
    assert checkpoint.demo
    assert checkpoint.licence == "generated images, no restriction"
    assert "demo" in checkpoint.data_name
