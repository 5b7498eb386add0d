"""The comparison runs end to end on the tiny bundle; what it measures is not held to anything here."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime import bench_peers
from edge_runtime.backends import installed_engines
from edge_runtime.bench_peers import measure_cold_starts, measure_folder, print_peers
from edge_runtime.command_bench import synthetic_jpeg
from edge_runtime.errors import EngineError
from tests.conftest import blob_picture, encoded


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_peers, "_COLD_ROUNDS", 1)
    monkeypatch.setattr(bench_peers, "_FOLDER_PICTURES", 8)


def test_cold_starts_and_folder_mode(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jpeg = encoded(blob_picture())
    peers = {
        "milliseconds": {"someone else": 1.0},
        "cold": measure_cold_starts(tiny_bundle, jpeg),
        "folder": measure_folder(tiny_bundle, jpeg),
    }
    assert set(peers["cold"]) == {
        f"{engine} {kind}" for engine in installed_engines() for kind in ("script", "dermedge")
    }
    assert all(measured["mebibytes"] < 500 for measured in peers["cold"].values())  # the child's, not this process's
    print_peers(peers)
    printed = capsys.readouterr().out
    assert "× the ten-line script's time" in printed
    assert "of the ideal" in printed


def test_a_failing_start_is_an_error(tmp_path: Path) -> None:
    for engine in installed_engines():
        (tmp_path / f"model.int8.{engine}").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="failed: "):
        measure_cold_starts(tmp_path, encoded(blob_picture()))


def test_the_synthetic_jpeg_has_a_photographs_size() -> None:
    assert 20_000 < len(synthetic_jpeg(600, 450)) < 100_000
