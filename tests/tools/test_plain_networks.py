"""The plain networks that the bench compares with are what they say, and the bench measures them."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edge_runtime.bench.plain import GEMM_NAME, ONNXRUNTIME_NAME
from edge_runtime.cli.main import main
from tests.conftest import REPOSITORY
from tools import plain_networks


@pytest.mark.slow
def test_networks_are_written_once_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ImportError("No module named 'nncf'")

    writers = {name: plain_networks.WRITERS[name] for name in (ONNXRUNTIME_NAME, GEMM_NAME)}
    monkeypatch.setattr(plain_networks, "WRITERS", {**writers, "openvino.int8.xml": fails})
    assert plain_networks.main(["--output", str(tmp_path)]) == 0
    assert "left out: openvino.int8.xml: ImportError: No module named 'nncf'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [GEMM_NAME, ONNXRUNTIME_NAME]
    nodes = [node.op_type for node in onnx.load(tmp_path / ONNXRUNTIME_NAME).graph.node]
    assert nodes.count("Conv") == 20 and "QuantizeLinear" in nodes
    before = (tmp_path / ONNXRUNTIME_NAME).stat().st_mtime_ns
    plain_networks.main(["--output", str(tmp_path)])
    assert (tmp_path / ONNXRUNTIME_NAME).stat().st_mtime_ns == before

    bundle = REPOSITORY / "models" / "ham10000-resnet18"
    capsys.readouterr()
    assert main(["bench", "--bundle", str(bundle), "--plain", str(tmp_path), "--rounds", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["plain"]["plain"]["onnxruntime"] > 0 and result["plain"]["floor"]["milliseconds"] > 0
    assert "onnx" in result["plain"]["chain"]
    ratio = result["plain"]["chain"]["onnx"] / result["plain"]["plain"]["onnxruntime"]
    assert ratio in [bar["measured"] for bar in result["bars"]]
