"""The tests, leg by leg: ``python -m tools.run_tests`` (``make test``), with ``--fast`` ``make test-fast``.

A leg is one pytest process on one package's tests: the converters that export loads and the training tests do not stand
each other in one process. Two legs run side by side, each on one thread; what each took is printed at the end. What
follows ``--`` goes to pytest: ``python -m tools.run_tests train -- -k resume``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.processes import REPOSITORY, Program, run_all, summary

# The longest first, also among those of --fast, so that the last one to end is a short one.
LEGS: dict[str, tuple[str, ...]] = {
    "export": ("tests/export",),
    "browser": ("tests/e2e",),
    "device": ("tests/edge_runtime",),
    "train": ("tests/train",),
    "project": ("tests/test_*.py",),
    "edge": ("tests/edge_runtime",),
    "web": ("tests/webapp", "tests/tools"),
    "legacy": ("tests/edge_runtime",),
}
ENVIRONMENTS = {"legacy": ".venv-legacy", "edge": ".venv-edge"}  # the others run in this interpreter's
FAST = "not slow and not browser and not real_data"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
NO_TESTS_COLLECTED = 5  # pytest's exit status


def make_leg(name: str, pytest_flags: Sequence[str], folder: Path, *, coverage: bool = False) -> Program:
    """Return the pytest process of a leg; its temporary files and its coverage data go into the folder."""
    python = REPOSITORY / ENVIRONMENTS[name] / "bin/python" if name in ENVIRONMENTS else sys.executable
    paths = [str(path) for pattern in LEGS[name] for path in sorted(REPOSITORY.glob(pattern))]
    command = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--basetemp", str(folder / name)]
    command += [*paths, *pytest_flags]
    environment = dict(ONE_THREAD)
    if coverage and name not in ENVIRONMENTS:
        command += ["--cov", "--cov-report="]
        environment["COVERAGE_FILE"] = str(folder / f".coverage.{name}")
    return Program(name, command, environment)


def print_coverage(folder: Path) -> None:
    """Combine what the legs left in the folder and print the branch coverage of every file that has gaps."""
    environment = {"COVERAGE_FILE": str(folder / ".coverage")}
    coverage = (sys.executable, "-m", "coverage")
    run_all([Program("coverage data", (*coverage, "combine", "--quiet"), environment)])
    run_all([Program("branch coverage", (*coverage, "report", "--skip-covered"), environment)])


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.run_tests", description=__doc__.split("\n\n")[0])
    parser.add_argument("legs", nargs="*", metavar="LEG", help=f"one or more of {', '.join(LEGS)} (default: all)")
    parser.add_argument("--fast", action="store_true", help="leave out what is marked slow, browser or real_data")
    parser.add_argument("--coverage", action="store_true", help="print the branch coverage of all legs together")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="legs run side by side (default: 2)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the legs and return the exit status: 1 when any has failed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    pytest_flags = given[end + 1 :]
    parser = build_parser()
    options = parser.parse_args(given[:end])
    unknown = set(options.legs) - set(LEGS)
    if unknown:
        parser.error(f"no such leg: {', '.join(sorted(unknown))}")
    names = options.legs or [
        name for name in LEGS if not (options.fast and (name in ENVIRONMENTS or name == "browser"))
    ]
    accepted = {0, NO_TESTS_COLLECTED} if pytest_flags else {0}
    flags = [*(["-m", FAST] if options.fast else []), *pytest_flags]
    with tempfile.TemporaryDirectory(prefix="dermedge-tests-") as name:
        folder = Path(name)
        legs = [make_leg(name, flags, folder, coverage=options.coverage) for name in names]
        outcomes = run_all(legs, options.workers)
        if options.coverage:
            print_coverage(folder)
    print(summary(outcomes))
    return int(any(outcome.status not in accepted for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
