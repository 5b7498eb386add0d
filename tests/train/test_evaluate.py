"""One command evaluates checkpoints and bundles alike, on the right images, and leaves a whole report or none."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from edge_runtime.bundle.classes import ham10000
from edge_runtime.classifier import Classifier
from edge_runtime.errors import DataError
from train.data.folder import load_records
from train.data.split import make_split, write_split
from train.demo.dataset import write_demo_dataset
from train.evaluate import main
from train.evaluation.corruptions import CORRUPTIONS
from train.evaluation.data import read_evaluation_data
from train.evaluation.subject import BundleSubject, CheckpointSubject
from train.metrics.classification import expected_calibration_error
from train.metrics.temperature import apply_temperature
from train.model.architectures import build_model, normalise
from train.model.checkpoint import Checkpoint, save_checkpoint
from train.report.page import render_page

pytestmark = pytest.mark.slow

LESIONS = 40


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return write_demo_dataset(tmp_path_factory.mktemp("data") / "demo", LESIONS, seed=2)


@pytest.fixture(scope="module")
def runs(demo, tmp_path_factory) -> Path:
    """A runs folder with one run, whose small untrained network sees 64 pixels."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    (folder / "first").mkdir(parents=True)
    split = make_split(load_records(demo))
    write_split(split, folder / "first" / "split.csv")
    (folder / "first" / "data.json").write_text(json.dumps({"folder": str(demo), "name": "demo"}))
    (folder / "latest").write_text("first\n")
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        architecture="resnet18",
        classes=ham10000(),
        state_dict=build_model("resnet18", classes=7).state_dict(),
        input_size=64,
        config={},
        epoch=1,
        metrics={},
        split_hash=split.hash,
        data_name="demo",
        data_fingerprint="0" * 64,
        demo=True,
        licence="none",
        temperature=2.0,
        not_sure_below=0.3,
        coverage=0.9,
    )
    save_checkpoint(checkpoint, folder / "first" / "best.pt")
    return folder


def folders(runs: Path) -> list[str]:
    return ["--runs-folder", str(runs), "--cache-folder", str(runs.parent / "cache")]


def quick(runs: Path) -> list[str]:
    return [*folders(runs), "--bootstrap", "10", "--corruption-images", "0"]


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("report") / "checkpoint"
    flags = ["--bootstrap", "10", "--corruption-images", "7", "--gallery", "2"]
    assert main([*folders(runs), *flags, "--output", str(output)]) == 0
    return output


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_is_on_the_test_set_of_the_last_run(report, demo):
    records = load_records(demo)
    expected = {records[index].image_id for index in make_split(records).indices(records, "test")}
    assert {row["image"] for row in read_predictions(report)} == expected


def test_the_tables_agree_with_the_predictions(report):
    rows = read_predictions(report)
    truth, label = [row["truth"] for row in rows], [row["label"] for row in rows]
    with (report / "confusion_matrix.csv").open(newline="") as file:
        matrix = np.array([[int(row[code]) for code in ham10000().codes] for row in csv.DictReader(file)])
    assert np.trace(matrix) / matrix.sum() == accuracy_score(truth, label)
    with (report / "per_class.csv").open(newline="") as file:
        for row, counts in zip(csv.DictReader(file), matrix, strict=True):
            assert int(row["support"]) == counts.sum()
    for row in rows:
        assert sum(float(row[code]) for code in ham10000().codes) == pytest.approx(1, abs=1e-9)


def test_the_gallery_shows_raw_and_overlay_side_by_side(report):
    with Image.open(report / "gallery.png") as gallery:
        assert gallery.width == 4 * (2 * 64 + 6)


def test_the_metrics_agree_with_scikit_learn_on_the_predictions(report):
    rows = read_predictions(report)
    truth = np.array([ham10000().codes.index(row["truth"]) for row in rows])
    probabilities = np.array([[float(row[code]) for code in ham10000().codes] for row in rows])
    metrics = json.loads((report / "report.json").read_text())
    predicted = probabilities.argmax(axis=1)
    macro = f1_score(truth, predicted, average="macro", zero_division=0)
    assert metrics["summary"]["macro_f1"]["value"] == pytest.approx(macro, abs=1e-9)
    for row, index in zip(metrics["classes"], range(7), strict=True):
        if 0 < (truth == index).sum() < len(truth):
            assert row["auc"]["value"] == pytest.approx(
                roc_auc_score(truth == index, probabilities[:, index]), abs=1e-9
            )
    assert metrics["data"]["images"] == len(rows)


def test_calibration_is_evaluated_before_and_after_the_temperature(report):
    rows = read_predictions(report)
    truth = np.array([ham10000().codes.index(row["truth"]) for row in rows])
    probabilities = np.array([[float(row[code]) for code in ham10000().codes] for row in rows])
    metrics = json.loads((report / "report.json").read_text())["calibration"]
    assert metrics["temperature"] == 2.0
    for name, scaled in (("after", probabilities), ("before", apply_temperature(np.log(probabilities), 1 / 2.0))):
        expected = expected_calibration_error(truth, scaled)
        assert metrics[name]["expected_calibration_error"] == pytest.approx(expected, abs=1e-9)


def test_the_not_sure_threshold_is_reported(report):
    rows = read_predictions(report)
    confidence = np.array([max(float(row[code]) for code in ham10000().codes) for row in rows])
    chosen = json.loads((report / "report.json").read_text())["selective"]["threshold"]
    assert chosen["coverage"] == pytest.approx((confidence >= 0.3).mean())


def test_every_corruption_is_reported_at_five_severities(report):
    metrics = json.loads((report / "report.json").read_text())["corruptions"]
    assert metrics["images"] == 7
    assert [row["name"] for row in metrics["rows"]] == list(CORRUPTIONS)
    assert all(len(row["severities"]) == 5 for row in metrics["rows"])


def test_the_page_needs_no_other_file(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]*)""", page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "Demo." in page
    assert "not a medical device" in page


def test_names_from_files_are_escaped_in_the_page(report):
    metrics = json.loads((report / "report.json").read_text())
    metrics["subject"]["trained_on"] = "<script>alert(1)</script>"
    assert "<script>" not in render_page(metrics, [], [])


def test_averaging_over_views_changes_the_predictions_a_little(runs, report, tmp_path, capsys):
    main([*quick(runs), "--tta", "--output", str(tmp_path / "r"), "--gallery", "1"])
    assert "8 views" in capsys.readouterr().out
    plain, averaged = (
        np.array([[float(row[code]) for code in ham10000().codes] for row in read_predictions(folder)])
        for folder in (report, tmp_path / "r")
    )
    assert 0 < np.abs(plain - averaged).max() < 0.5


def test_the_classification_report_is_printed(runs, tmp_path, capsys):
    main([*quick(runs), "--run", "first", "--split", "validation", "--output", str(tmp_path / "r"), "--gallery", "0"])
    printed = capsys.readouterr().out
    assert "precision    recall  f1-score   support" in printed
    assert "balanced accuracy" in printed
    assert "demo model" in printed
    assert str(tmp_path / "r") in printed


def test_the_temperature_reaches_the_logits(runs):
    subject = CheckpointSubject(runs / "first" / "best.pt")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        raw = subject.model(normalise(torch.from_numpy(images))).double().numpy()
    np.testing.assert_allclose(subject.predict_logits(images, []), raw / 2.0, atol=1e-6)


@pytest.mark.parametrize(("engine", "precision"), [("onnx", "int8"), ("tflite", "fp32")])
def test_a_bundle_takes_the_same_path(tiny_bundle, demo, runs, tmp_path, engine, precision):
    output = tmp_path / "bundle"
    flags = ["--bundle", str(tiny_bundle), "--engine", engine, "--precision", precision, "--threads", "1"]
    main([*quick(runs), *flags, "--data", str(demo), "--split", "all", "--output", str(output), "--gallery", "1"])
    rows = {row["image"]: row for row in read_predictions(output)}
    record = load_records(demo)[3]
    with Classifier.load(tiny_bundle, engine=engine, precision=precision, threads=1) as classifier:
        expected = classifier.predict(record.path)
    assert rows[record.image_id]["label"] == expected.label
    for code, probability in expected.probabilities.items():
        assert float(rows[record.image_id][code]) == pytest.approx(probability, abs=1e-9)


def test_a_bundle_explains_the_class_that_was_asked(tiny_bundle, demo):
    subject = BundleSubject(tiny_bundle, "onnx", "fp32", threads=1)
    size = subject.facts.input_size
    image = np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with Classifier.load(tiny_bundle, engine="onnx", precision="fp32", threads=1) as classifier:
        expected = classifier.predict(image, explain_class="bkl").class_activation_map
    np.testing.assert_array_equal(subject.explain(image, load_records(demo)[0], 2), expected)


def test_a_bundle_finds_the_run_it_came_from(tiny_bundle, runs, demo):
    facts = BundleSubject(tiny_bundle, "onnx", "fp32", threads=1).facts
    checkpoint = CheckpointSubject(runs / "first" / "best.pt").facts
    with pytest.raises(DataError, match="use --split-file FILE"):
        read_evaluation_data(facts, demo, "test", split_file=None, runs=runs, cache=runs.parent / "cache")
    moved = type(facts)(**{**facts.__dict__, "split_hash": checkpoint.split_hash})
    found = read_evaluation_data(moved, None, "test", split_file=None, runs=runs, cache=runs.parent / "cache")
    assert found.folder == demo
    assert found.demo


def test_images_the_split_does_not_know_need_split_all(runs, tmp_path):
    other = write_demo_dataset(tmp_path / "other", 9, seed=9)
    for path in [*other.glob("*/*.jpg"), other / "HAM10000_metadata.csv"]:
        path.rename(path.with_name(path.name.replace("ISIC_", "ISIC_9")))
    table = other / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_", "ISIC_9"))
    with pytest.raises(DataError, match="use --split all for images the model never saw"):
        main([*quick(runs), "--data", str(other), "--output", str(tmp_path / "report")])
    assert not (tmp_path / "report").exists()


def test_a_folder_with_other_files_is_not_replaced(runs, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="expected a new folder or an older report"):
        main([*quick(runs), "--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_older_report_is_replaced(runs, tmp_path):
    flags = [*quick(runs), "--output", str(tmp_path / "r"), "--gallery", "0"]
    main(flags)
    (tmp_path / "r" / "stale.txt").write_text("")
    main(flags)
    assert not (tmp_path / "r" / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_no_run_yet_is_said(tmp_path):
    with pytest.raises(DataError, match="found no run yet"):
        main(["--runs-folder", str(tmp_path)])


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--gallery", "-1"], "argument --gallery: expected a whole number of at least 0, found -1"),
        (["--bootstrap", "0"], "argument --bootstrap: expected a whole number of at least 1, found 0"),
        (["--tta", "2"], "argument --tta: invalid choice: 2 (choose from 1, 4, 8)"),
        (["--nope"], "unrecognized arguments: --nope"),
        (
            ["--run", "first", "--bundle", "models/demo"],
            "expected one of --run, --checkpoint and --bundle, found --run and --bundle",
        ),
    ],
)
def test_wrong_usage_is_one_line(runs, capfd, flags, complaint):
    with pytest.raises(SystemExit) as stopped:
        main([*folders(runs), *flags])
    assert stopped.value.code == 2
    printed = capfd.readouterr()
    assert printed.err.splitlines() == [f"error: {complaint} (see python -m train.evaluate --help)"]
    assert not printed.out
