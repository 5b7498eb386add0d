"""One image travels the whole way: demo folder → two training steps → bundle → device → page's API."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import read_manifest, verify_files
from tests.conftest import REPOSITORY
from webapp import create_app
from webapp.configuration import WebConfiguration


def run_module(module: str, *arguments: object, environment: dict[str, str]) -> str:
    """Run ``python -m module`` and return its standard output; its errors are shown when it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]
    return finished.stdout


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Draw 60 lesions, train for two steps, export. Takes a minute; everything below looks at what came out."""
    folder = tmp_path_factory.mktemp("chain")
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "2", "PATH": "/usr/bin:/bin"}
    run_module("train.demo.dataset", "--output", folder / "data", "--lesions", 60, environment=environment)
    run_module(
        "train", "--data", folder / "data", "--name", "chain", "--runs-folder", folder / "runs",
        "--cache-folder", folder / "cache", "--init", "none", "--epochs", 1, "--image-size", 64, "--batch-size", 20,
        "--patient-metadata", "--metadata-dropout", 0.3,
        environment=environment,
    )  # fmt: skip
    run_module(
        "export", "--checkpoint", folder / "runs/chain/best.pt", "--output", folder / "bundle",
        "--calibration-images", 16, "--selection-images", 8, "--calibrator", "min-max",
        "--tolerance-int8-agreement", 0.5, "--tolerance-accuracy-loss", 1, "--tolerance-balanced-accuracy-loss", 1,
        "--tolerance-recall-loss", 1, "--tolerance-int8-explain-correlation", -1,
        environment=environment,
    )  # fmt: skip
    return {"bundle": folder / "bundle", "run": folder / "runs/chain", "data": folder / "data"}


def demo_image(chain: dict[str, Path]) -> Path:
    return sorted(chain["data"].glob("HAM10000_images_part_1/*.jpg"))[0]


def test_training_left_what_it_promises(chain: dict[str, Path]) -> None:
    names = {path.name for path in chain["run"].iterdir()}
    assert {"config.json", "split.csv", "data.json", "metrics.jsonl", "best.pt", "last.pt", "tensorboard"} <= names
    (epoch,) = (json.loads(line) for line in (chain["run"] / "metrics.jsonl").read_text().splitlines())
    assert {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"} <= set(flatten(epoch))


def flatten(document: dict[str, Any]) -> list[str]:
    """Return all keys of nested dictionaries."""
    keys = []
    for key, value in document.items():
        keys += [key, *(flatten(value) if isinstance(value, dict) else [])]
    return keys


def test_bundle_is_whole_and_says_demo(chain: dict[str, Path]) -> None:
    manifest = read_manifest(chain["bundle"])
    verify_files(chain["bundle"], manifest)
    assert manifest.demo
    assert set(manifest.variants) == {"onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8"}
    assert "demo" in (chain["bundle"] / "README.md").read_text().lower()
    assert len(manifest.measured.parity) >= 4
    on_disk = {path.name for path in chain["bundle"].iterdir()}
    beside = {"manifest.json", "README.md", "labels.txt", "split.csv"}
    assert {graph.file for graph in manifest.graphs} | beside <= on_disk


def test_engines_agree_on_the_exported_model(chain: dict[str, Path]) -> None:
    predictions = {}
    for engine in ("onnx", "tflite"):
        for precision in ("fp32", "int8"):
            with Classifier.load(chain["bundle"], engine=engine, precision=precision, threads=1) as classifier:
                predictions[engine, precision] = classifier.predict(demo_image(chain), explain=True)
    probabilities = {key: np.array(list(prediction.probabilities.values())) for key, prediction in predictions.items()}
    np.testing.assert_allclose(probabilities["onnx", "fp32"], probabilities["tflite", "fp32"], atol=1e-4)
    for engine in ("onnx", "tflite"):
        np.testing.assert_allclose(probabilities[engine, "int8"], probabilities["onnx", "fp32"], atol=0.1)
    maps = {key: prediction.class_activation_map for key, prediction in predictions.items()}
    np.testing.assert_allclose(maps["onnx", "fp32"], maps["tflite", "fp32"], atol=1e-4)


def test_device_and_web_give_the_same_prediction(chain: dict[str, Path]) -> None:
    image_path = demo_image(chain)
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    output = run_module(
        "edge_runtime", "predict", image_path, "--bundle", chain["bundle"], "--engine", "tflite", "--json",
        environment=environment,
    )  # fmt: skip
    from_device = json.loads(output)
    client = create_app(WebConfiguration(bundle=chain["bundle"])).test_client()
    response = client.post(
        "/api/v1/predict",
        data={"image": (io.BytesIO(image_path.read_bytes()), "x.jpg"), "engine": "tflite", "explain": "1"},
    )
    assert response.status_code == 200, response.get_data(as_text=True)
    from_web = response.get_json()
    assert tuple(from_web["probabilities"]) == ham10000().codes
    assert from_web["probabilities"] == pytest.approx(from_device["probabilities"], abs=1e-6)
    assert from_web["label"] == from_device["label"]
    assert any("demo" in warning for warning in from_web["warnings"])


def test_patient_metadata_reaches_the_prediction_everywhere(chain: dict[str, Path]) -> None:
    """The same model predicts with and without age, sex and site, and the same on the command line and over HTTP."""
    specification = read_manifest(chain["bundle"]).patient_metadata
    assert specification is not None
    assert {"female", "male"} <= set(specification.sexes)
    image_path, site = demo_image(chain), specification.sites[0]
    patients: list[dict[str, str]] = [{}, {"age": "80", "sex": "male", "site": site}, {"sex": "male"}]
    client = create_app(WebConfiguration(bundle=chain["bundle"])).test_client()
    predictions = []
    for patient in patients:
        flags = [word for name, value in patient.items() for word in (f"--{name}", value)]
        output = run_module(
            "edge_runtime", "predict", image_path, "--bundle", chain["bundle"], "--engine", "onnx", "--json", *flags,
            environment={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        predictions.append(json.loads(output)["probabilities"])
        image = (io.BytesIO(image_path.read_bytes()), "x.jpg")
        response = client.post("/api/v1/predict", data={"image": image, "engine": "onnx", **patient})
        assert response.get_json()["probabilities"] == pytest.approx(predictions[-1], abs=1e-6)
    values = np.array([list(prediction.values()) for prediction in predictions])
    assert min(np.abs(values[0] - values[1]).max(), np.abs(values[1] - values[2]).max()) > 1e-5


def test_the_image_is_one_of_the_seven_drawn_classes(chain: dict[str, Path]) -> None:
    with Image.open(demo_image(chain)) as image:
        assert image.size == (600, 450)
