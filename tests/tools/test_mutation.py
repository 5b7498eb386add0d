"""The mutation score is computed from what mutmut wrote, on a sample that a larger one extends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binomtest

from tools.mutation import choose_sample, count_statuses, describe, read_results, wilson_interval


def test_results_are_read_from_every_file(tmp_path: Path) -> None:
    (tmp_path / "imaging").mkdir()
    for name, codes in {"a.py.meta": {"m1": 0, "m2": None}, "imaging/b.py.meta": {"m3": 1}}.items():
        (tmp_path / name).write_text(json.dumps({"exit_code_by_key": codes, "durations_by_key": {}}))
    assert read_results(tmp_path) == {"m1": 0, "m2": None, "m3": 1}


def test_a_larger_sample_begins_with_a_smaller_one() -> None:
    names = [f"m{number}" for number in range(100)]
    assert choose_sample(names, 40, 7)[:10] == choose_sample(names[::-1], 10, 7)
    assert choose_sample(names, 10, 7) != choose_sample(names, 10, 8)
    assert sorted(choose_sample(names, 1000, 0)) == sorted(names)


def test_the_score_counts_unreached_mutants_and_leaves_out_crashes() -> None:
    results = {"a": 1, "b": 0, "c": 33, "d": 36, "e": None, "f": -11, "g": 3}
    counts = count_statuses(results, list(results))
    assert counts == {"killed": 2, "survived": 1, "no tests": 1, "timeout": 1, "not run": 1, "crashed": 1}
    assert "mutation score 0.600 (0.231 to 0.882), 3 of 5 mutants" in describe(counts)
    assert "score" not in describe(Counter({"not run": 3}))


@pytest.mark.parametrize(("hits", "total"), [(0, 5), (5, 5), (255, 300)])
def test_the_interval_is_scipys(hits: int, total: int) -> None:
    expected = binomtest(hits, total).proportion_ci(method="wilson")
    assert wilson_interval(hits, total) == pytest.approx((expected.low, expected.high), abs=1e-4)
