"""The programs in docs/export.md, run as they stand there, answer as the device's own code does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.classes import CLASS_CODES
from edge_runtime.classifier import Classifier
from tests.conftest import REPOSITORY, blob_picture

TOLERANCE = 0.02
"""Another engine's int8 kernels may round otherwise."""


def snippets(language: str) -> list[str]:
    """Return the programs in a language, in the document's order."""
    text = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A folder with what the programs read: a bundle, a picture, and its resized bytes."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "demo").symlink_to(tiny_bundle)
    blob_picture(seed=3).save(tmp_path / "lesion.jpg")
    resized = Image.open(tmp_path / "lesion.jpg").convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    (tmp_path / "picture.rgb").write_bytes(resized.tobytes())
    return tmp_path


def check(answer: dict[str, float], place: Path, engine: str) -> None:
    """Hold a program's answer against the device's code."""
    with Classifier.load(place / "models" / "demo", engine=engine, precision="int8") as classifier:
        expected = classifier.predict(place / "lesion.jpg").probabilities
    assert list(answer) == list(CLASS_CODES)
    assert answer == pytest.approx(expected, abs=TOLERANCE)
    assert max(answer, key=answer.__getitem__) == max(expected, key=expected.__getitem__)


def run(command: list[str], place: Path, **environment: str) -> str:
    finished = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize("module", ["onnxruntime", "ai_edge_litert", "openvino"])
def test_python(module: str, place: Path) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (program,) = [text for text in snippets("python") if f"import numpy, {module}" in text or f"from {module}" in text]
    printed = run([sys.executable, "-c", program], place)
    check(json.loads(printed.replace("'", '"')), place, "tflite" if module == "ai_edge_litert" else "onnx")


def test_cpp(place: Path) -> None:
    found = find_spec("openvino")
    if found is None or found.origin is None or shutil.which("g++") is None:
        pytest.skip("openvino's wheel and g++ are needed to compile it")
    package = Path(found.origin).parent
    (library,) = (package / "libs").glob("libopenvino.so.*")
    (program,) = snippets("cpp")
    (place / "main.cpp").write_text(program)
    run(["g++", "-std=c++17", "-Wall", "-Werror", "main.cpp", f"-isystem{package / 'include'}", f"-L{library.parent}",
         f"-l:{library.name}", f"-Wl,-rpath,{library.parent}", "-o", "main"], place)  # fmt: skip
    lines = [line.split() for line in run(["./main"], place).splitlines()]
    check({code: float(probability) for code, probability in lines}, place, "onnx")


def test_javascript(place: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    probe = [node, "-e", 'require("onnxruntime-node")']
    if subprocess.run(probe, capture_output=True, check=False, cwd=place).returncode:
        pytest.skip("onnxruntime-node is not installed; NODE_PATH names a node_modules folder that has it")
    (program,) = snippets("javascript")
    (place / "main.js").write_text(program)
    check(json.loads(run([node, "main.js"], place)), place, "onnx")


def test_no_program_is_left_out() -> None:
    """Kotlin alone is not run, and the document says so."""
    text = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    assert {len(snippets(language)) for language in ("cpp", "javascript", "kotlin")} == {1}
    assert len(snippets("python")) == 3
    assert re.search(r"Kotlin .*?\*\*Not run here\*\*", text, flags=re.DOTALL)
