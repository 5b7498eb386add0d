"""The bench runs end to end on the tiny bundle and assesses what it measured; the timings themselves are not tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.bench import cold_start as bench_start
from edge_runtime.bench import command as command_bench
from edge_runtime.bench import folder as bench_folder
from edge_runtime.bench.cold_start import chained_graphs, measure_cold_starts
from edge_runtime.bench.plain import measure_plain
from edge_runtime.bench.report import HELD_ENGINES, Bar, find_bars, print_report
from edge_runtime.bench.timing import synthetic_jpeg, time_in_turns
from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.errors import EngineError
from tests.conftest import REPOSITORY, blob_image, encoded

HELD = [engine for engine in installed_engines() if engine in HELD_ENGINES]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_start, "_ROUNDS", 1)
    monkeypatch.setattr(bench_folder, "_IMAGES", 8)
    monkeypatch.setattr(bench_folder, "_ROUNDS", 1)
    monkeypatch.setattr("edge_runtime.bench.peers._ncnn_calls", _missing)  # convert a network for minutes
    monkeypatch.setattr("edge_runtime.bench.peers._torch_calls", _missing)


def _missing(*_: object) -> dict[str, Any]:
    raise ImportError("not in this test")


@pytest.mark.slow
def test_everything_is_measured_and_assessed(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--bundle", str(tiny_bundle), "--rounds", "3", "--peers", "--profile", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["variant"] for row in result["rows"]} == {
        f"{engine}-{precision}" for engine in installed_engines() for precision in ("int8", "fp32")
    }
    assert all(row["bare_ms"] > 0 and row["predict_ratio"] > 0 for row in result["rows"])
    profiled = {f"onnx-{precision}" for precision in ("int8", "fp32") if "onnx" in installed_engines()}
    assert set(result["profile"]) == profiled
    assert all(abs(sum(shares.values()) - 1) < 1e-6 for shares in result["profile"].values())
    assert set(result["cold"]) == {f"{engine} {kind}" for engine in HELD for kind in ("script", "dermedge")}
    assert all(measured["mebibytes"] < 500 for measured in result["cold"].values())  # the child's, not this process's
    assert set(result["folder"]) == set(installed_engines())
    assert all(measured["folder_per_second"] > 0 for measured in result["folder"].values())
    assert {name for name in result["peers"] if name.startswith("dermedge")} >= {
        f"dermedge {engine} int8, JPEG → prediction" for engine in installed_engines()
    }
    assert len(result["bars"]) == 6 * len(HELD) + 1
    rows = {row["variant"]: row for row in result["rows"]}
    for bar in result["bars"]:
        measured = round(bar["measured"], 2)
        assert bar["inside"] is (measured >= bar["bar"] if bar["at_least"] else measured <= bar["bar"])
        if bar["ratio"] == "JPEG → prediction ÷ bare":
            assert bar["measured"] == rows[bar["subject"]]["predict_ms"] / rows[bar["subject"]]["bare_ms"]
    ratios = [bar["ratio"] for bar in result["bars"]]
    assert ratios.count("JPEG → prediction ÷ bare") == ratios.count("cold start ÷ script") == len(HELD)


@pytest.mark.parametrize(
    ("measured", "bar", "at_least", "inside"),
    [(1.25, 1.25, False, True), (1.254, 1.25, False, True), (1.256, 1.25, False, False), (0.5, 1.25, False, True),
     (0.9, 0.9, True, True), (0.896, 0.9, True, True), (0.894, 0.9, True, False), (1.5, 0.9, True, True)],
)  # fmt: skip
def test_a_bar_is_met_by_the_two_decimals_that_are_printed(
    measured: float, bar: float, at_least: bool, inside: bool
) -> None:
    assert Bar("onnx", "a ratio", measured, bar, at_least).inside is inside


@pytest.mark.slow
def test_check_fails_when_a_bar_is_missed(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["bench", "--bundle", str(tiny_bundle), "--rounds", "1", "--check"]
    monkeypatch.setattr(command_bench, "find_bars", lambda _: [Bar("onnx", "a ratio", 1.2, 1.25)])
    assert main(flags) == 0
    assert "1.20 ≤ 1.25 inside" in capsys.readouterr().out
    monkeypatch.setattr(command_bench, "find_bars", lambda _: [Bar("onnx", "a ratio", 0.89, 0.9, at_least=True)])
    assert main(flags) == 1
    assert "0.89 ≥ 0.9  OUTSIDE" in capsys.readouterr().out


def test_the_bars_are_those_of_int8_on_the_two_engines() -> None:
    row = {"predict_ratio": 1.3, "explain_ratio": 1.0, "phone_ratio": 2.0}
    result = {
        "rows": [{**row, "variant": variant} for variant in ("onnx-int8", "onnx-fp32", "openvino-int8", "tflite-int8")],
        "auto": "onnx",
        "auto_ratio": 1.0,
        "folder": {"onnx": {"ratio": 0.95}},
        "cold": {
            f"onnx {who}": {"seconds": seconds, "mebibytes": 100} for who, seconds in (("script", 1), ("dermedge", 2))
        },
    }
    bars = find_bars(result)
    assert {bar.subject for bar in bars} == {"onnx-int8", "tflite-int8", "auto", "onnx"}
    assert [(bar.subject, bar.ratio) for bar in bars if not bar.inside] == [
        ("onnx-int8", "JPEG → prediction ÷ bare"),
        ("tflite-int8", "JPEG → prediction ÷ bare"),
        ("onnx", "cold start ÷ script"),
    ]


PLAIN = {
    "plain": {"onnxruntime": 10.0, "LiteRT": 20.0, "OpenVINO": 8.0},
    "chain": {"onnx": 10.4, "tflite": 22.0, "openvino": 8.9},
    "JPEG": {"onnx": 12.0, "tflite": 27.0, "openvino": 9.4},
    "pipeline": {"onnx": 12.1, "tflite": 27.5, "openvino": 9.5, "script": 11.0},
    "floor": {"milliseconds": 7.0, "giga_multiply_adds_per_second": 260.0},
}


def test_plain_networks_set_the_bars_where_they_were_measured(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"predict_ratio": 9.0, "explain_ratio": 1.0, "phone_ratio": 2.0, "variant": "onnx-int8"}
    row |= dict.fromkeys(("bare_ms", "pixels_ms", "floor_ratio", "predict_ms", "explain_ms", "phone_ms"), 1.0)
    result = {
        "rows": [row],
        "auto": "openvino",
        "auto_ratio": 9.0,
        "plain": PLAIN,
        "cpu": "c",
        "threads": 1,
        "rounds": 1,
    }
    bars = {(bar.subject, bar.ratio): bar for bar in find_bars(result)}
    expected = {
        ("onnx-int8", "with map ÷ without"): (1.0, True),
        ("onnx-int8", "12 megapixels ÷ bare"): (2.0, True),
        ("onnx-int8", "chain ÷ plain ResNet18 on onnxruntime"): (1.04, True),
        ("tflite-int8", "chain ÷ plain ResNet18 on LiteRT"): (1.1, False),
        ("auto", "openvino ÷ fastest plain (OpenVINO)"): (8.9 / 8, False),
        ("onnx-int8", "JPEG → prediction, added ÷ allowed"): (1.6 / 2.08, True),  # 0.2 of 10.4 ms is more than 1 ms
        ("tflite-int8", "JPEG → prediction, added ÷ allowed"): (5 / 4.4, False),
        ("auto", "with heat map ÷ plain script"): (9.5 / 11, False),
    }
    assert set(bars) == set(expected)
    for key, (measured, inside) in expected.items():
        assert (bars[key].measured, bars[key].inside) == (pytest.approx(measured), inside), key
    print_report(result, list(bars.values()))
    printed = capsys.readouterr().out
    assert "our better engine takes 1.49 times that" in printed
    assert "OUTSIDE" in printed


def test_plain_networks_are_compared_with_a_resnet18_only(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="expected a resnet18 to compare with plain ones, found tiny"):
        measure_plain(tiny_bundle, tmp_path, b"", 1, 1)


@pytest.mark.slow
def test_a_folder_without_plain_networks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"expected networks of `python -m tools\.plain_networks`, found none"):
        measure_plain(REPOSITORY / "models" / "ham10000-resnet18", tmp_path, synthetic_jpeg(60, 45), 1, 1)


def test_a_bundle_without_whole_networks_is_compared_by_its_parts(tiny_bundle: Path) -> None:
    whole = chained_graphs(tiny_bundle, read_manifest(tiny_bundle), "onnx-int8")
    assert [Path(path).name for path in whole] == ["model.int8.onnx"]
    reference = REPOSITORY / "models" / "ham10000-resnet18"
    parts = chained_graphs(reference, read_manifest(reference), "tflite-int8")
    assert [Path(path).name for path in parts] == ["features.int8.tflite", "head.fp32.tflite"]
    assert chained_graphs(tiny_bundle, read_manifest(tiny_bundle), "onnx-fp16") == []


@pytest.mark.slow
def test_a_failing_start_is_an_error(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_start, "chained_graphs", lambda *_: ["/nowhere/model.onnx"])
    with pytest.raises(EngineError, match="failed: "):
        measure_cold_starts(tiny_bundle, encoded(blob_image()))


def test_turns_are_taken_by_all_and_in_changing_order() -> None:
    order: list[str] = []
    timings = time_in_turns({name: lambda name=name: order.append(name) for name in "abc"}, rounds=5)
    rounds = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert set(timings) == {"a", "b", "c"}


def test_the_synthetic_jpeg_has_a_photographs_size() -> None:
    assert 20_000 < len(synthetic_jpeg(600, 450)) < 100_000
