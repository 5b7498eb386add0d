"""The speed command runs and reports; what it measures is no matter for a test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from train.augmentation import benchmark as bench_augmentation
from train.learning.benchmark import main

pytestmark = pytest.mark.slow


def test_reports_loop_against_bare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--architecture", "tiny", "--image-size", "32", "--batch-size", "4", "--rounds", "2", "--steps", "1"]
    assert main([*flags, "--images", "10", "--cache-folder", str(tmp_path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["images"] == 10
    assert row["ratio"] > 0
    assert 0 < row["peak_own_memory_mb"] <= row["peak_resident_memory_mb"] + 1


def test_growth_is_measured_in_a_process_for_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.learning.benchmark.GROWTH_SIZES", (4, 8))
    flags = ["--architecture", "mobilenet_v3_small", "--image-size", "32", "--batch-size", "2", "--rounds", "1"]
    assert main([*flags, "--steps", "1", "--threads", "1", "--cache-folder", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("4 images: loop ")
    assert second.startswith("8 images: loop ")
    assert "peak memory " in second


def test_augmentation_is_timed_against_torchvision(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--batch-size", "2", "--image-size", "32", "--rounds", "1"]
    assert bench_augmentation.main(flags) == 0
    seed, strong = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"seed: \d+ ms of CPU time per batch, torchvision \d+ ms \([\d.]+ times as long\)", seed)
    assert strong.startswith("strong: ")
