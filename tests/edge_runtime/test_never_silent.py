"""What an engine or a file could get wrong unnoticed is an error here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import Classifier, DermedgeError
from edge_runtime.bundle.manifest import MANIFEST_NAME, fill_in_checksum
from edge_runtime.captured_output import without_information_lines
from edge_runtime.engines import GRAPH_FORMATS, installed_engines
from edge_runtime.engines.external_data import refuse_external_data
from edge_runtime.errors import EngineError, run_command_line
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import REPOSITORY, TINY_BUNDLE, blob_image, encoded

JPEG = encoded(blob_image(), quality=80)


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field of wire type 2."""
    assert len(content) < 128
    key = number << 3 | 2
    start = bytes([key]) if key < 128 else bytes([key & 0x7F | 0x80, key >> 7])
    return start + bytes([len(content)]) + content


ENTRY = field(1, b"location") + field(2, b"/etc/passwd")
EXTERNAL_TENSORS: dict[str, bytes] = {
    "initialiser with a location": field(7, field(5, field(13, ENTRY))),
    "initialiser that says external": field(7, field(5, bytes([14 << 3, 1]))),
    "constant of a node": field(7, field(1, field(5, field(5, field(13, ENTRY))))),
    "inside a branch's graph": field(7, field(1, field(5, field(6, field(5, field(13, ENTRY)))))),
    "inside a function": field(25, field(7, field(5, field(5, field(13, ENTRY))))),
    "sparse initialiser": field(7, field(15, field(1, field(13, ENTRY)))),
}


@pytest.mark.parametrize("kind", EXTERNAL_TENSORS)
def test_onnx_external_data_is_refused(kind: str, tmp_path: Path) -> None:
    """Protobuf merges repeated fields, so appending bytes adds a tensor to a good graph."""
    graph = (TINY_BUNDLE / "features.fp32.onnx").read_bytes()
    refuse_external_data(graph)
    with pytest.raises(EngineError, match="keeps tensors in another file"):
        refuse_external_data(graph + EXTERNAL_TENSORS[kind])
    bundle = Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))
    replace_graph(bundle, "features.fp32.onnx", lambda data: data + EXTERNAL_TENSORS[kind])
    for engine in installed_engines():
        if GRAPH_FORMATS[engine] == "onnx":
            with pytest.raises(EngineError, match="keeps tensors in another file"):
                Classifier.load(bundle, engine=engine, precision="fp32")


def replace_graph(bundle: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a graph and make the manifest agree, as a bad exporter would."""
    data = change((bundle / name).read_bytes())
    (bundle / name).write_bytes(data)
    document: dict[str, Any] = json.loads((bundle / MANIFEST_NAME).read_text())
    for graph in document["graphs"]:
        if graph["file"] == name:
            graph.update(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    document["manifest_sha256"] = 64 * "0"
    (bundle / MANIFEST_NAME).write_bytes(fill_in_checksum(json.dumps(document).encode()))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_reading_any_bytes_as_onnx_ends_in_a_verdict(data: bytes) -> None:
    try:
        refuse_external_data(data)
    except EngineError as error:
        assert str(error)


@pytest.mark.parametrize("engine", installed_engines())
def test_a_graph_the_engine_cannot_read_is_one_line(engine: str, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))
    replace_graph(bundle, f"head.fp32.{GRAPH_FORMATS[engine]}", lambda data: b"\x08\x07" + bytes(64))
    with pytest.raises(EngineError) as raised:
        Classifier.load(bundle, engine=engine, precision="fp32")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("engine", installed_engines())
@pytest.mark.parametrize("role", ["head", "explain"])
def test_nan_from_an_engine_is_an_error(engine: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Classifier.load(TINY_BUNDLE, engine=engine) as classifier:
        classifier.predict(JPEG, explain=True)
        inner = getattr(classifier, f"_{role}")

        def broken(inputs: dict[str, Any]) -> dict[str, Any]:
            return {name: np.full_like(array, np.nan) for name, array in inner(inputs).items()}

        monkeypatch.setattr(classifier, f"_{role}", broken)
        with pytest.raises(EngineError, match="not finite"):
            classifier.predict(JPEG, explain=True)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, len(JPEG) - 1), bit=st.integers(0, 7), cut=st.integers(0, 400))
def test_a_damaged_jpeg_gives_pixels_or_one_line(position: int, bit: int, cut: int) -> None:
    damaged = bytearray(JPEG)
    damaged[position] ^= 1 << bit
    try:
        found = load_image_hwc(bytes(damaged[: len(damaged) - cut]))
    except DermedgeError as error:
        assert "\n" not in str(error)
    else:
        assert found.shape == (224, 224, 3)
        assert found.dtype == np.uint8


@pytest.mark.parametrize("engine", installed_engines())
def test_engines_start_without_log_output(engine: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "predict", "tests/fixtures/golden.jpg", "--bundle", TINY_BUNDLE,
         "--engine", engine, "--json"],
        capture_output=True, cwd=REPOSITORY, check=True,
    )  # fmt: skip
    assert finished.stderr == b""


@pytest.mark.parametrize("engine", installed_engines())
@pytest.mark.parametrize("writable", [True, False])
def test_no_engine_sends_telemetry(engine: str, writable: bool, tmp_path: Path) -> None:
    """Telemetry begins with an identifier in the home folder, or an error that it cannot be written."""
    finished = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "predict", "tests/fixtures/golden.jpg", "--bundle", TINY_BUNDLE,
         "--engine", engine, "--json"],
        capture_output=True, cwd=REPOSITORY, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path) if writable else "/proc/none"},
    )  # fmt: skip
    assert finished.stderr == b""
    assert not list(tmp_path.rglob("*"))


def test_warnings_of_an_engine_are_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with without_information_lines():
        os.write(2, b"INFO: hello\nERROR: something is wrong\n")
    assert capfd.readouterr().err == "ERROR: something is wrong\n"


@pytest.mark.parametrize("engine", installed_engines())
def test_batch_answers_are_the_single_answers(engine: str) -> None:
    with Classifier.load(TINY_BUNDLE, engine=engine, precision="fp32", threads=1) as classifier:
        images = [blob_image(seed=seed) for seed in range(5)]
        batch = classifier.predict_batch(images, explain=True)
        for image, prediction in zip(images, batch, strict=True):
            single = classifier.predict(image, explain=True)
            assert prediction.label == single.label
            assert prediction.probabilities == pytest.approx(single.probabilities, abs=1e-6)
            assert prediction.class_activation_map is not None
            np.testing.assert_allclose(prediction.class_activation_map, single.class_activation_map, atol=1e-5)
        assert classifier.predict_batch([]) == []


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_command_line(interrupted) == 130
    assert capsys.readouterr().err == ""


def test_a_name_that_is_no_unicode_can_be_named_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        raise EngineError("\udcff.jpg: is odd")

    assert run_command_line(failing) == 1
    assert capsys.readouterr().err == "error: \\udcff.jpg: is odd\n"
