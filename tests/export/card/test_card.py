"""The model card: valid for the hub, and with the metrics that an evaluation of the same graphs gives."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import accuracy_score, recall_score

from edge_runtime.bundle.manifest import read_manifest, verify_files
from edge_runtime.classifier import Classifier
from edge_runtime.errors import run_command_line
from export.card.__main__ import main
from export.card.evaluations import read_evaluations
from export.card.text import CARD_NAME, card_text, read_report
from export.pipeline import ExportOutcome
from export.report.page import write_bundle_page
from export.report.run_facts import run_facts
from tests.conftest import REFERENCE_BUNDLE
from train.configuration import TrainingConfiguration
from train.folds import train_folds
from train.model.checkpoint import load_checkpoint

FLAGS = ("--bundle", "--runs-folder", "--cache-folder")


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, ExportOutcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the exported bundle that may be written to."""
    return Path(shutil.copytree(exported[0], tmp_path_factory.mktemp("cards") / "stripes"))


@pytest.fixture(scope="module")
def hard_data(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images with every third label wrong: the metrics of a model that is always right prove nothing."""
    folder = Path(shutil.copytree(data_folder, tmp_path_factory.mktemp("data") / "renamed"))
    path = folder / "HAM10000_metadata.csv"
    head, *rows = path.read_text().splitlines()
    renamed = [row.replace(f",{code_of(row)},", ",nv,") if number % 3 == 0 else row for number, row in enumerate(rows)]
    path.write_text("\n".join([head, *renamed]) + "\n")
    return folder


def code_of(row: str) -> str:
    return row.split(",")[2]


@pytest.fixture(scope="module")
def evaluated(bundle: Path, checkpoint: Path, hard_data: Path) -> Path:
    """The bundle after its card was made with results on the test set."""
    with pytest.MonkeyPatch.context() as patch:
        assert make_card(patch, bundle, checkpoint, "--data", hard_data) == 0
    return bundle


def make_card(patch: pytest.MonkeyPatch, bundle: Path, checkpoint: Path, *more: str | Path) -> int:
    """Run ``python -m export.card`` on a bundle."""
    folders = (bundle, checkpoint.parent.parent, bundle.parent / "cache")
    flags = [str(part) for pair in zip(FLAGS, folders, strict=True) for part in pair]
    patch.setattr("sys.argv", ["python -m export.card", *flags, *map(str, more)])
    return run_command_line(main)


def metrics_of(card: str) -> dict[tuple[str, str], float]:
    """Return what the hub reads: (variant, metric) → value."""
    results = ModelCard(card).data.eval_results
    return {(result.dataset_config, result.metric_type): result.metric_value for result in results}


def test_head_is_what_the_hub_reads(exported: tuple[Path, ExportOutcome]) -> None:
    card = ModelCard((exported[0] / CARD_NAME).read_text(encoding="utf-8"))
    assert card.data.license == "other"
    assert card.data.pipeline_tag == "image-classification"
    assert "demo" in card.data.tags
    measured = exported[1].manifest.measured
    assert metrics_of(card.content)[("PyTorch fp32", "accuracy")] == measured.accuracy
    assert "The bundle has not been evaluated on a test set yet" in " ".join(card.text.split())
    assert "Not a medical device" in card.text


def test_metrics_are_those_of_an_evaluation(evaluated: Path, checkpoint: Path) -> None:
    found = metrics_of((evaluated / CARD_NAME).read_text(encoding="utf-8"))
    assert {variant for variant, _ in found} == {"onnx-int8", "tflite-int8"}
    for variant in ("onnx-int8", "tflite-int8"):
        folder = checkpoint.parent.parent / f"evaluation-stripes-{variant}-test"
        report = json.loads((folder / "report.json").read_text())
        assert 0 < report["summary"]["accuracy"]["value"] < 1
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"):
            assert found[(variant, name)] == report["summary"][name]["value"]
        with (
            folder / "predictions.csv"
        ).open() as file:  # and once more from the predicted labels alone, by scikit-learn
            rows = list(csv.DictReader(file))
        truth, labels = ([row[name] for row in rows] for name in ("truth", "label"))
        recall = recall_score(truth, labels, average="macro", labels=sorted(set(truth)))
        assert found[(variant, "accuracy")] == pytest.approx(accuracy_score(truth, labels))
        assert found[(variant, "balanced_accuracy")] == pytest.approx(recall)


def test_card_tells_of_classes_groups_and_weaknesses(evaluated: Path) -> None:
    text = (evaluated / CARD_NAME).read_text(encoding="utf-8")
    for heading in (
        "Intended use", "Results on the test set", "Weaknesses", "Graphs against PyTorch",
        "Size and energy", "Training", "Input", "Provenance",
    ):  # fmt: skip
        assert f"## {heading}" in text
    for told in ("| sex | male |", "expected calibration error", "corrupted images: balanced accuracy falls"):
        assert told in text
    assert str(evaluated.parent) not in text, "no path of the machine"


def test_graphs_and_manifest_are_untouched(evaluated: Path, exported: tuple[Path, ExportOutcome]) -> None:
    verify_files(evaluated, read_manifest(evaluated))
    assert (evaluated / "manifest.json").read_bytes() == (exported[0] / "manifest.json").read_bytes()
    with Classifier.load(evaluated, engine="onnx"):
        pass


def test_evaluation_of_something_else_is_refused(
    evaluated: Path,
    checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = checkpoint.parent.parent / "evaluation-stripes-onnx-int8-test" / "report.json"
    before = (evaluated / CARD_NAME).read_bytes()
    for change, complaint in (
        (
            {"subject": {"details": {"checkpoint SHA-256": "0" * 64}}},
            "expected an evaluation of this bundle with checkpoint",
        ),
        (
            {"data": {"subset": "validation"}},
            "expected test images (--split test or all), found the validation set",
        ),
        ({"views": 8}, "expected one view of each image, found an average over 8"),
        ({"subject": None}, "expected the report.json of an evaluation, found something else"),
    ):
        content = json.loads(original.read_text())
        for key, value in change.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
        path = tmp_path / "report.json"
        path.write_text(json.dumps(content))
        assert make_card(monkeypatch, evaluated, checkpoint, "--evaluation", path) == 1
        line = capfd.readouterr().err.strip()
        assert line.startswith("error: ")
        assert complaint in line
        assert len(line.splitlines()) == 1
    assert (evaluated / CARD_NAME).read_bytes() == before


def test_the_description_of_the_initial_weights_is_kept(
    evaluated: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "ImageNet weights up to layer 3"
    assert make_card(monkeypatch, evaluated, checkpoint, "--no-evaluation", "--initialisation", told) == 0
    assert make_card(monkeypatch, evaluated, checkpoint, "--no-evaluation") == 0
    text = (evaluated / CARD_NAME).read_text(encoding="utf-8")
    assert f"- initial weights: {told}" in text
    assert "Results on the test set" in text


def test_card_tells_of_the_cross_validation(
    evaluated: Path,
    checkpoint: Path,
    hard_data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folds = train_folds(
        TrainingConfiguration(
            data=str(hard_data), runs_folder=str(tmp_path), name="folds", cache_folder=str(tmp_path / "cache"),
            folds=2, epochs=1, image_size=32, init="none", architecture="mobilenet_v3_small", tensorboard=False,
        )
    )  # fmt: skip
    assert make_card(monkeypatch, evaluated, checkpoint, "--no-evaluation", "--cross-validation", folds.folder) == 1
    assert "folds.json: expected folds of the bundle's images" in capfd.readouterr().err
    fingerprint = read_manifest(evaluated).provenance.data_fingerprint
    summary = json.loads((folds.folder / "folds.json").read_text()) | {"data_fingerprint": fingerprint}
    (folds.folder / "folds.json").write_text(json.dumps(summary))
    assert make_card(monkeypatch, evaluated, checkpoint, "--no-evaluation", "--cross-validation", folds.folder) == 0
    assert make_card(monkeypatch, evaluated, checkpoint, "--no-evaluation") == 0, "and it stays told"
    text = (evaluated / CARD_NAME).read_text(encoding="utf-8")
    mean, deviation = folds.mean["balanced_accuracy"], folds.deviation["balanced_accuracy"]
    pooled = folds.pooled["balanced_accuracy"]
    interval = f"{pooled.value:.3f} [{pooled.low:.3f}, {pooled.high:.3f}]"
    assert f"| balanced accuracy | {mean:.3f} ± {deviation:.3f} | {interval} |" in text
    assert "2 folds (by lesion, no lesion on two sides)" in text
    assert make_card(monkeypatch, evaluated, checkpoint, "--cross-validation", tmp_path) == 1
    assert "expected folds.json of a finished python -m train --folds, found none" in capfd.readouterr().err


def test_report_of_an_older_export(
    bundle: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    (old / "report.json").write_text('{"name": "old", "chains": []}')
    assert make_card(monkeypatch, old, checkpoint) == 1
    assert "expected the report of this version, found one without measured" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("licence", "demo", "hub"),
    [
        ("CC BY-NC 4.0 (HAM10000, Tschandl, Rosendahl, Kittler 2018): non-commercial research", False, "cc-by-nc-4.0"),
        ("CC-BY-NC", False, "cc-by-nc-4.0"),
        ("CC-0", False, "cc0-1.0"),
        ("unknown", False, "unknown"),
        ("CC-0, CC-BY-NC", False, "other"),
        ("CC-BY-ND", False, "other"),
        ("by agreement with the clinic", False, "other"),
        ("generated images, no restriction", True, "other"),
    ],
)
def test_the_hub_reads_the_licence_of_the_data(tmp_path: Path, licence: str, demo: bool, hub: str) -> None:
    manifest = read_manifest(REFERENCE_BUNDLE)
    provenance = msgspec.structs.replace(manifest.provenance, licence=licence, data="our clinic")
    other = msgspec.structs.replace(manifest, provenance=provenance, demo=demo)
    card = ModelCard(card_text(other, read_report(REFERENCE_BUNDLE), read_evaluations(tmp_path)))
    assert card.data.license == hub
    if hub == "other":
        assert card.data.license_name == ("generated-images" if demo else "licence-of-the-data")
    assert licence in card.text
    assert "HAM10000 comes from" not in card.text, "these images are others"


def test_uncommitted_changes_are_told_in_words(tmp_path: Path) -> None:
    manifest = read_manifest(REFERENCE_BUNDLE)
    for version, told in (
        ("0.2.0 (0123456789)", "by dermedge 0.2.0 (0123456789)\n"),
        ("0.2.0 (0123456789-dirty)", "by dermedge 0.2.0 (0123456789), made from a tree with uncommitted changes\n"),
        ("0.2.0", "by dermedge 0.2.0\n"),
    ):
        provenance = msgspec.structs.replace(manifest.provenance, code_version=version)
        other = msgspec.structs.replace(manifest, provenance=provenance)
        assert told in card_text(other, read_report(REFERENCE_BUNDLE), read_evaluations(tmp_path)), version
        page = write_bundle_page(tmp_path, other, read_report(REFERENCE_BUNDLE)).read_text(encoding="utf-8")
        assert told.strip() in page, version


def test_wrong_usage_is_one_line(
    bundle: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_card(monkeypatch, bundle, checkpoint, "--nope") == 2
    assert capfd.readouterr().err == "error: unrecognized arguments: --nope (see python -m export.card --help)\n"


def test_run_facts_are_read_off_the_run(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    facts = run_facts(loaded, tmp_path)
    assert (facts["epochs"], facts["seconds"], facts["initialisation"]) == (None, None, None)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "seconds": 2.5}\n{"epoch": 2, "seconds": 3.5}\n')
    loaded.config.update({"init": "/home/somebody/weights.pth", "batch_size": 32})
    facts = run_facts(loaded, tmp_path)
    assert (facts["epochs"], facts["seconds"], facts["initialisation"]) == (2, 6.0, "weights.pth")
    assert facts["settings"] == {"batch_size": 32}
