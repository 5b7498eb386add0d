"""The wheel: what is in it, and that it runs away from this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from edge_runtime.engines import installed_engines
from edge_runtime.version import __version__
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what belongs in it, without the network."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 is not installed here")
    source = tmp_path_factory.mktemp("source")
    for name in ("edge_runtime", "webapp"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, source)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    (source / "dist").mkdir()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=source, check=True, capture_output=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_the_device_and_the_web_app_only(wheel: Path) -> None:
    assert wheel.name == f"dermedge-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"dermedge-{__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"dermedge-{__version__}.dist-info/entry_points.txt").decode()
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"edge_runtime", "webapp"}
    packed = {name for name in names if name.endswith(".py")}
    in_checkout = {
        str(path.relative_to(REPOSITORY))
        for package in packages
        for path in (REPOSITORY / package).rglob("*.py")
        if "node_modules" not in path.parts
    }
    assert packed == in_checkout
    assert {"edge_runtime/py.typed", "webapp/py.typed"} <= set(names)
    for extra in ("onnx", "tflite", "openvino", "web", "ray", "camera", "heic"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "dermedge = edge_runtime.__main__:run" in scripts
    assert "dermedge-web = webapp.__main__:run" in scripts
    assert "Requires-Dist: torch" not in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert {f"dermedge-{__version__}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= set(names)


@pytest.mark.slow
def test_the_wheel_predicts_away_from_the_checkout(
    wheel: Path, image_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    finished = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "predict", image_folder / "lesion-0.jpg", "--bundle", tiny_bundle,
         "--engine", installed_engines()[0], "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(finished.stdout)["label"]


CONSUMER = """
from typing import assert_type

from edge_runtime import Classifier, DermedgeError, Prediction

with Classifier.load("models/demo", engine="auto", replicas=2) as classifier:
    prediction = classifier.predict("lesion.jpg", explain=True)
    assert_type(prediction, Prediction)
    assert_type(prediction.confidence, float)
    assert_type(prediction.probabilities, dict[str, float])
    assert_type(classifier.predict_batch([b"", b""]), list[Prediction])
    for source, result in classifier.predict_many(["a.jpg"], batch=4):
        if not isinstance(result, DermedgeError):
            assert_type(result, Prediction)
"""


@pytest.mark.slow
def test_the_wheel_brings_its_types_along(wheel: Path, tmp_path: Path) -> None:
    """A program that uses the interface as documented passes mypy's strict mode, and one that does not is told."""
    pytest.importorskip("mypy", reason="mypy is not installed here")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # NumPy and Pillow, for their types
    consumer = tmp_path / "consumer.py"
    command = [
        sys.executable, "-m", "mypy", "--strict", "--python-executable", tmp_path / "venv/bin/python", "--cache-dir",
        tmp_path / "cache", "--follow-imports=silent", consumer,
    ]  # fmt: skip
    consumer.write_text(CONSUMER)
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    consumer.write_text(CONSUMER + "\n    classifier.predict('lesion.jpg', explain='yes')\n")
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "incompatible type" in finished.stdout
