"""A calibrated checkpoint's outlier score and thresholds reach the bundle, and the device acts on them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.imaging.preprocessing import load_image_hwc
from export.pipeline import run_export
from tests.export.conftest import exported_configuration, write_run
from train.calibrate import main as calibrate
from train.data.folder import load_records
from train.evaluation.subject import BundleSubject, CheckpointSubject
from train.model.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> tuple[Path, Path]:
    """A calibrated checkpoint and its fp32 bundle."""
    folder = tmp_path_factory.mktemp("calibrated")
    checkpoint = write_run(folder / "runs" / "stripes", data_folder)
    flags = ["--runs-folder", str(folder / "runs"), "--cache-folder", str(folder / "cache"), "--run", "stripes"]
    calibrate([*flags, "--false-positive-rate", "0.05"])
    configuration = exported_configuration(checkpoint, folder / "models" / "stripes")
    run_export(msgspec.structs.replace(configuration, precisions=("fp32",)))
    return checkpoint, configuration.output


def test_the_manifest_carries_the_thresholds(calibrated: tuple[Path, Path]) -> None:
    checkpoint, thresholds = load_checkpoint(calibrated[0]), read_manifest(calibrated[1]).thresholds
    assert thresholds.not_lesion_above == pytest.approx(checkpoint.extra["not_lesion_above"])
    assert thresholds.false_alarm_rate == pytest.approx(checkpoint.extra["false_alarm_rate"])
    assert thresholds.not_sure_below == pytest.approx(checkpoint.not_sure_below)


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_the_device_computes_the_same_score(calibrated: tuple[Path, Path], data_folder: Path, engine: str) -> None:
    checkpoint, bundle = (
        CheckpointSubject(calibrated[0]),
        BundleSubject(calibrated[1], engine, "fp32", threads=1),
    )
    size = checkpoint.facts.input_size
    images = np.stack([load_image_hwc(record.path, size) for record in load_records(data_folder)[:5]])
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    for some in (images, noise):
        np.testing.assert_allclose(bundle.outlier_scores(some), checkpoint.outlier_scores(some), rtol=1e-3, atol=1e-3)


def test_noise_is_refused_and_a_known_image_is_not(calibrated: tuple[Path, Path], data_folder: Path) -> None:
    with Classifier.load(calibrated[1], engine="onnx", precision="fp32", threads=1) as classifier:
        size = classifier.manifest.input.size
        noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        assert classifier.predict(noise).verdict == "not_a_lesion_image"
        verdicts = [classifier.predict(record.path).verdict for record in load_records(data_folder)[:8]]
        assert verdicts.count("not_a_lesion_image") <= 2
