"""``weights.safetensors``: what is in a bundle is the network, and evaluation, export and training start from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors import safe_open
from safetensors.torch import load_file

from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import read_manifest, write_manifest
from edge_runtime.errors import BundleError, CheckpointError, ExportError
from export.bundle.compact import compact_bundle
from export.pipeline import ExportOutcome, run_export
from tests.export.conftest import exported_configuration
from train.evaluate import main as evaluate
from train.model.architectures import build_model
from train.model.bundle_weights import WEIGHTS_NAME, load_network, read_weights, write_weights
from train.model.checkpoint import Checkpoint, load_checkpoint
from train.model.initial_weights import initialise
from train.model.outlier_score import checkpoint_outlier_score, fit_outlier_score, outlier_extra

Exported = tuple[Path, ExportOutcome]


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    """A compact copy of the exported bundle: it has no fp32 backbone any more."""
    copy = Path(shutil.copytree(exported[0], tmp_path / "bundle"))
    write_manifest(copy, compact_bundle(copy, read_manifest(copy)))
    return copy


def without_weights(bundle: Path) -> Path:
    write_manifest(bundle, msgspec.structs.replace(read_manifest(bundle), weights=None))
    return bundle


def test_tensors_are_the_checkpoints(exported: Exported, checkpoint: Path) -> None:
    """Weights in float16, vectors as they are, nothing else and nothing less."""
    expected = load_checkpoint(checkpoint).state_dict
    found = load_file(exported[0] / WEIGHTS_NAME)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.half() if tensor.dim() > 1 else tensor, rtol=0, atol=0)


def test_facts_are_the_checkpoints(exported: Exported, checkpoint: Path) -> None:
    before, after = load_checkpoint(checkpoint), read_weights(exported[0] / WEIGHTS_NAME)
    for name in ("architecture", "classes", "input_size", "temperature", "split_hash", "data_name", "licence", "demo"):
        assert getattr(after, name) == getattr(before, name), name
    report = json.loads((exported[0] / "report.json").read_text())
    assert after.extra["training"] == report["training"]


def test_no_path_of_the_machine_leaves_it(checkpoint: Path, tmp_path: Path) -> None:
    settings = {"init": "/home/someone/start.pth", "data": Path("/home/someone/data"), "loss": "focal"}
    path = tmp_path / WEIGHTS_NAME
    write_weights(replace_fields(load_checkpoint(checkpoint), config=settings), path)
    assert read_weights(path).config == {"init": "start.pth", "data": "data", "loss": "focal"}
    assert b"someone" not in path.read_bytes()


def test_outlier_score_travels(checkpoint: Path, tmp_path: Path) -> None:
    pooled = np.random.default_rng(0).gamma(2.0, size=(40, 32))
    extra = outlier_extra(fit_outlier_score(pooled), 2.5, 0.02)
    write_weights(replace_fields(load_checkpoint(checkpoint), extra=extra), tmp_path / WEIGHTS_NAME)
    after = read_weights(tmp_path / WEIGHTS_NAME)
    score = checkpoint_outlier_score(after)
    assert score is not None
    for name, tensor in fit_outlier_score(pooled).state_dict().items():
        torch.testing.assert_close(score.state_dict()[name], tensor, rtol=0, atol=0)
    assert after.extra["not_lesion_above"] == 2.5


def test_export_from_a_bundle(bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    """The graphs are checked against the weights, and the weights are the same bytes again."""
    configuration = replace(
        exported_configuration(Path(), tmp_path / "again"),
        checkpoint=None,
        bundle=bundle,
        data=data_folder,
        formats=("onnx",),
        precisions=("fp32",),
    )
    outcome = run_export(configuration)
    assert (tmp_path / "again" / WEIGHTS_NAME).read_bytes() == (bundle / WEIGHTS_NAME).read_bytes()
    assert outcome.manifest.calibration == read_manifest(bundle).calibration
    assert outcome.manifest.provenance.split_hash == read_manifest(bundle).provenance.split_hash
    assert not (bundle / "export-report").exists()


def test_training_starts_from_a_bundle(bundle: Path) -> None:
    model = build_model("shallow_resnet", classes=7)
    report = initialise(model, str(bundle), ham10000())
    assert report.random == () and report.unused == ()
    torch.testing.assert_close(model.state_dict(), load_network(bundle).state_dict, rtol=0, atol=0)


def test_bundle_of_another_network_starts_nothing(bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="bundle: expected a checkpoint of resnet18, found one of shallow_resnet"):
        initialise(build_model("resnet18", classes=7), str(bundle), ham10000())


def test_weights_are_evaluated(
    bundle: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--precision fp32`` of a bundle without fp32 graphs is the network itself."""
    output = tmp_path / "report"
    flags = ["--bundle", bundle, "--precision", "fp32", "--data", data_folder, "--split", "validation"]
    flags += ["--output", output, "--bootstrap", "10", "--corruption-images", "0", "--cache-folder", tmp_path / "cache"]
    assert evaluate([str(flag) for flag in flags]) == 0
    assert "PyTorch fp32" in capsys.readouterr().out
    measured = read_manifest(bundle).measured
    metrics = json.loads((output / "report.json").read_text())
    assert metrics["summary"]["accuracy"]["value"] == pytest.approx(measured.accuracy, abs=0.02)


def test_bundle_without_weights(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"expected a bundle with weights.safetensors, found one that was exported"):
        load_network(without_weights(bundle))


def test_altered_weights_are_refused(bundle: Path) -> None:
    path = bundle / WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"weights.safetensors: expected SHA-256"):
        load_network(bundle)


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64], ids=["empty", "text", "bytes"])
def test_file_that_is_no_safetensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights.safetensors: expected a safetensors file, found"):
        read_weights(path)


def test_safetensors_of_another_program(tmp_path: Path, exported: Exported) -> None:
    from safetensors.torch import save_file

    save_file(load_file(exported[0] / WEIGHTS_NAME), tmp_path / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match="expected weights of format dermedge-weights-1, found none"):
        read_weights(tmp_path / WEIGHTS_NAME)
    with safe_open(exported[0] / WEIGHTS_NAME, framework="pt") as file:
        assert file.metadata()["format"] == "dermedge-weights-1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": None}, "expected either --checkpoint or --bundle, found neither"),
        ({"bundle": Path("b")}, "expected either --checkpoint or --bundle, found both"),
        ({"checkpoint": None, "bundle": Path("b")}, "expected --data, found none"),
    ],
)
def test_what_is_exported_is_named_once(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    configuration = exported_configuration(Path("best.pt"), tmp_path / "out")
    with pytest.raises(ExportError, match=message):
        run_export(replace(configuration, **changes))


def replace_fields(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    from dataclasses import replace as dataclass_replace

    return dataclass_replace(checkpoint, **changes)
