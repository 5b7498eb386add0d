"""The legs of the tests cover every test file once per environment, and a failing leg fails the whole."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.processes import Program, run_all, summary
from tools.run_tests import ENVIRONMENTS, FAST, LEGS, main, make_leg


def test_every_test_file_is_in_one_leg() -> None:
    covered: Counter[Path] = Counter()
    for name, patterns in LEGS.items():
        if name not in ENVIRONMENTS:
            for path in (found for pattern in patterns for found in REPOSITORY.glob(pattern)):
                covered.update(path.rglob("test_*.py") if path.is_dir() else [path])
    assert covered == Counter((REPOSITORY / "tests").rglob("test_*.py"))


def test_a_leg_is_one_pytest_process_with_a_folder_of_its_own(tmp_path: Path) -> None:
    leg = make_leg("train", ["-m", FAST], tmp_path, coverage=True)
    assert leg.command[:3] == [sys.executable, "-m", "pytest"]
    assert str(REPOSITORY / "tests" / "train") in leg.command
    assert leg.environment["OMP_NUM_THREADS"] == "1"
    assert Path(leg.environment["COVERAGE_FILE"]).parent == tmp_path
    assert make_leg("edge", [], tmp_path, coverage=True).command[0] == str(REPOSITORY / ".venv-edge/bin/python")


def test_programs_run_side_by_side_and_their_output_stays_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "import time; [print(i, flush=True) or time.sleep(0.05) for i in range(5)]"
    outcomes = run_all([Program(name, [sys.executable, "-c", lines]) for name in ("one", "two")], workers=2)
    assert {outcome.name: outcome.status for outcome in outcomes} == {"one": 0, "two": 0}
    printed = capsys.readouterr().out
    assert "== one\n0\n1\n2\n3\n4\n" in printed and "== two\n0\n1\n2\n3\n4\n" in printed


def test_a_program_that_fails_stops_no_other_and_its_seconds_are_its_own() -> None:
    busy = "import time; start = time.process_time()\nwhile time.process_time() < start + 0.3: pass"
    programs = [
        Program("fails", [sys.executable, "-c", "raise SystemExit(3)"]),
        Program("busy", [sys.executable, "-c", busy]),
    ]
    failed, worked = run_all(programs)
    assert (failed.status, worked.status) == (3, 0)
    assert worked.cpu_seconds >= 0.3
    assert failed.cpu_seconds < worked.cpu_seconds
    assert "FAILED (status 3)" in summary([failed, worked]).splitlines()[1]


def test_an_unknown_leg_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["nonsense"])
    assert left.value.code == 2
    assert "no such leg: nonsense" in capsys.readouterr().err


def test_what_follows_two_dashes_goes_to_pytest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "--", "-k", "citation_names", "--noconftest"]) == 0
    assert "1 passed" in capsys.readouterr().out
