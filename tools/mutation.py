"""Mutation score of ``edge_runtime`` with mutmut: ``python -m tools.mutation`` (``make mutation``).

Mutmut changes one expression at a time and runs the tests that reach it; a mutant that no test notices survives. All
mutants take hours, so a seeded sample of them stands for all, and the score comes with its 95 % interval. What mutmut
has learned is kept in ``mutants/``: a larger sample with the same seed runs only the mutants that it adds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from pathlib import Path

from tools.processes import REPOSITORY

MUTANTS = REPOSITORY / "mutants"
FIRST_MODULE = "edge_runtime.imaging.views.*"
"""A small module: running its mutants makes all others too, and finds out which test reaches which function."""
STATUSES = {
    None: "not run", 0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests",
    24: "timeout", -24: "timeout", 36: "timeout", 152: "timeout", 255: "timeout",
}  # fmt: skip
"""What mutmut's exit codes mean; with any other one the tests themselves could not run, and the score leaves it out."""


def read_results(folder: Path) -> dict[str, int | None]:
    """Return mutmut's exit code of every mutant, ``None`` where it has not run, by the mutant's name."""
    results: dict[str, int | None] = {}
    for path in sorted(folder.rglob("*.py.meta")):
        results |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return results


def choose_sample(names: Sequence[str], size: int, seed: int) -> list[str]:
    """Return ``size`` of the names, in random order: a larger sample of the same seed begins with a smaller one."""
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    return shuffled[:size]


def count_statuses(results: dict[str, int | None], sample: Sequence[str]) -> Counter[str]:
    """Return how many mutants of the sample were killed, survived, were reached by no test, and so on."""
    return Counter(STATUSES.get(results[name], "crashed") for name in sample)


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927)."""
    z = 1.96
    centre, spread = hits + z * z / 2, z * sqrt(hits * (total - hits) / total + z * z / 4)
    return (centre - spread) / (total + z * z), (centre + spread) / (total + z * z)


def describe(counts: Counter[str]) -> str:
    """Return the score as text. A timeout counts as noticed; a mutant that no test reaches as not noticed."""
    noticed = counts["killed"] + counts["timeout"]
    total = noticed + counts["survived"] + counts["no tests"]
    lines = [", ".join(f"{number} {status}" for status, number in counts.most_common())]
    if total:
        low, high = wilson_interval(noticed, total)
        lines.append(f"mutation score {noticed / total:.3f} ({low:.3f} to {high:.3f}), {noticed} of {total} mutants")
    return "\n".join(lines)


def run_mutmut(names: Sequence[str], workers: int) -> None:
    """Run these mutants. Raises :class:`subprocess.CalledProcessError` when mutmut fails."""
    command = (str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(workers), *names)
    subprocess.run(command, cwd=REPOSITORY, check=True)  # noqa: S603


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="mutants to run (default: 300)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses them (default: 0)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="mutants run side by side (default: 1)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sample, print the survivors and the score, and return the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        run_mutmut([FIRST_MODULE], options.workers)
        sample = choose_sample(list(read_results(MUTANTS)), options.sample, options.seed)
        run_mutmut(sample, options.workers)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: mutmut did not finish: {error}", file=sys.stderr)
        return 1
    results = read_results(MUTANTS)
    print("\nnot noticed (mutmut show NAME prints the change):")
    for name in sorted(sample):
        if (status := STATUSES.get(results[name], "crashed")) not in ("killed", "timeout"):
            print(f"  {name}  ({status})")
    print(f"{len(sample)} of {len(results)} mutants, seed {options.seed}: {describe(count_statuses(results, sample))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
