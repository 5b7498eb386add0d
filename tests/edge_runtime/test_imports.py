"""The device's packages pull in neither torch nor TensorFlow, and importing them costs nearly nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

HEAVY = {"torch", "torchvision", "tensorflow", "onnx", "sklearn", "matplotlib", "train", "export"}


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=REPOSITORY, check=True)
    return {name.partition(".")[0] for name in json.loads(finished.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        "import edge_runtime",
        "import edge_runtime.cli.main, edge_runtime.cli.predict, edge_runtime.bench.command",
        "from edge_runtime import Classifier; Classifier.load('tests/fixtures/tiny_bundle')",
    ],
)
def test_edge_runtime_is_light(statement: str) -> None:
    assert not modules_after(statement) & HEAVY


def test_importing_the_package_imports_no_engine_and_no_numpy() -> None:
    assert not modules_after("import edge_runtime") & {"numpy", "PIL", "onnxruntime", "ai_edge_litert"}


def test_webapp_is_light() -> None:
    pytest.importorskip("flask", reason="flask is not installed here")
    assert not modules_after("import webapp") & HEAVY
