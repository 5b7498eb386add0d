"""The load test in miniature: what it measures, and that it fails when it should."""

from __future__ import annotations

import json

import pytest

from tests.conftest import TINY_BUNDLE
from tools import load_test
from tools.load_test import Round, report


@pytest.mark.slow
def test_a_small_run_completes_every_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"load_test --bundle {TINY_BUNDLE} --clients 4 --requests 40 --rounds 2 --json"
    monkeypatch.setattr("sys.argv", command.split())
    monkeypatch.setattr(load_test, "MINIMUM_RATIO", 0.0)  # a ratio of so few requests says nothing
    assert load_test.main() == 0
    results = json.loads(capsys.readouterr().out)
    assert results["requests"] == 40
    assert results["served_per_second"] > 0
    assert results["latency_ms_median"] <= results["latency_ms_99th"]
    assert results["memory_mib_at_the_end"] > 20


def test_ratio_and_growth_are_those_of_the_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [Round(100.0, served, [0.1]) for served in (70.0, 90.0, 120.0)]
    assert report(rounds, [150.0, 151.0, 190.0], as_json=False) == (0.9, 40.0)
    assert "ratio                          0.9" in capsys.readouterr().out
