"""The export's pages: all metrics of ``report.json`` are shown, and patients' images stay beside the run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from export.pipeline import ExportOutcome
from export.report.page import INSTRUCTION_SETS_NAME, render_page, write_bundle_page
from export.report.run_page import FOLDER_NAME, SHOWN
from tests.export.conftest import RefusedExport

Exported = tuple[Path, ExportOutcome]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_bundle_page_has_metrics_and_no_images(exported: Exported) -> None:
    bundle, _ = exported
    page, report = text_of(bundle / "report.html"), json.loads(text_of(bundle / "report.json"))
    assert len(page) < 200_000
    assert "<img" not in page
    assert "base64" not in page
    for chain in report["chains"]:
        assert f"<strong>{chain['variant']}</strong>" in page
        assert f"{100 * chain['top1_agreement']:.2f}" in page
    for scores in report["int8_recipes"].values():
        for score in scores:
            assert score["recipe"] in page


def test_pages_fetch_nothing(exported: Exported, exported_run: Path) -> None:
    bundle, _ = exported
    for page in (bundle / "report.html", exported_run / FOLDER_NAME / "report.html"):
        assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"|url\(|@import", text_of(page)), page


def test_page_beside_the_run_shows_the_most_changed_images(exported: Exported, exported_run: Path) -> None:
    _, outcome = exported
    page = text_of(exported_run / FOLDER_NAME / "report.html")
    quantised = [name for name in outcome.manifest.variants if name.endswith(("int8", "dynamic"))]
    assert page.count("<img") == SHOWN * len(quantised)


def test_intervals_contain_their_metric(exported: Exported) -> None:
    report = json.loads(text_of(exported[0] / "report.json"))
    for chain in report["chains"]:
        for name, interval in chain["intervals"].items():
            assert interval["value"] == pytest.approx(chain[name]), (chain["variant"], name)
            assert interval["low"] - 1e-9 <= interval["value"] <= interval["high"] + 1e-9
        for one in chain["classes"].values():
            assert one["recall_change"]["value"] == pytest.approx(one["correct_change"] / one["images"])


def test_broken_tolerance_is_shown_beside_the_run(refused: RefusedExport) -> None:
    page = text_of(refused.run / FOLDER_NAME / "report.html")
    assert "Not written: tolerances are exceeded." in page
    assert "onnx-fp32 features+head: probability differs by" in page


def test_instruction_sets_are_shown_where_they_were_measured(exported: Exported, tmp_path: Path) -> None:
    bundle, outcome = exported
    report = json.loads(text_of(bundle / "report.json"))
    assert "Not measured for this bundle" in text_of(bundle / "report.html")
    row = {"instruction_set": "AVX2", "cpu": "Haswell", "variant": "onnx-int8", "images": 8, "same": 7,
           "largest_difference": 0.25}  # fmt: skip
    measured = {"images": 8, "emulator": "qemu 7.2", "native": "AVX-512 VNNI", "rows": [row], "control": []}
    (tmp_path / INSTRUCTION_SETS_NAME).write_text(json.dumps(measured))
    page = text_of(write_bundle_page(tmp_path, outcome.manifest, report))
    assert "<td>7 of 8</td>" in page
    assert "2.5e-01" in page


def test_nodes_and_both_routes_are_shown_where_they_were_measured(exported: Exported) -> None:
    report = json.loads(text_of(exported[0] / "report.json"))
    metrics = {"size_bytes": 11_300_000, "latency_ms": 4.81, "top1_agreement": 0.99, "accuracy_change": -0.001,
               "balanced_accuracy_change": 0.002, "max_probability_difference": 0.1}  # fmt: skip
    routes = {"litert-torch": metrics, "onnx2tf": {**metrics, "latency_ms": 4.72}}
    entry = {"variant": "tflite-int8", "role": "model", "routes": routes, "agreement_of_routes": 0.985,
             "max_probability_difference_of_routes": 0.05}  # fmt: skip
    nodes = {"features.fp32.onnx": {"Conv": 20, "Relu": 17}}
    page = render_page(exported[1].manifest, {**report, "nodes": nodes, "tflite_routes": [entry]})
    assert "<td>features.fp32.onnx</td><td>37</td>" in page
    assert "Conv&nbsp;20, Relu&nbsp;17" in page
    for shown in ("litert-torch", "onnx2tf", "4.81", "4.72", "98.50"):
        assert shown in page


def test_names_are_escaped(exported: Exported) -> None:
    report = json.loads(text_of(exported[0] / "report.json"))
    page = render_page(exported[1].manifest, {**report, "name": "<script>alert(1)</script>"})
    assert "<script>" not in page


def test_run_folder_that_cannot_be_written_is_no_reason_to_refuse(
    exported: Exported, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from export.report.run_page import write_run_report

    bundle, outcome = exported
    report = json.loads(text_of(bundle / "report.json"))
    nowhere = checkpoint  # a file where the folder should be refuses writing for root too
    measurements = replace(outcome.measurements, results=())
    result = write_run_report(nowhere, bundle, outcome.manifest, report, measurements)
    assert result is None
    assert "cannot be written: " in capfd.readouterr().err
