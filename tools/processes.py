"""Running the programs of a check one after the other or side by side, and saying how long each took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Program:
    """A named command line, run in the repository's root."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one program did: its exit status, and its seconds on the clock and on the CPU (children included)."""

    name: str
    status: int
    wall_seconds: float
    cpu_seconds: float


def run_all(programs: Sequence[Program], workers: int = 1) -> list[Outcome]:
    """Run the programs, ``workers`` at a time in the order given, and print the whole output of each when it ends.

    A program that fails stops none of the others. Returns the outcomes in the order in which the programs ended.
    """
    outcomes = []
    with ThreadPoolExecutor(workers) as pool:
        for finished in as_completed([pool.submit(_run, program) for program in programs]):
            outcome, output = finished.result()
            print(f"== {outcome.name}\n{output}", end="" if output.endswith("\n") else "\n", flush=True)
            outcomes.append(outcome)
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return a table of the outcomes with a line each."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = [f"{'':{width}}   wall s    CPU s"]
    for outcome in outcomes:
        verdict = "" if outcome.status == 0 else f"   FAILED (status {outcome.status})"
        lines.append(f"{outcome.name:{width}} {outcome.wall_seconds:8.1f} {outcome.cpu_seconds:8.1f}{verdict}")
    return "\n".join(lines)


def _run(program: Program) -> tuple[Outcome, str]:
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(  # noqa: S603
            program.command, cwd=REPOSITORY, env={**os.environ, **program.environment},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        cpu_seconds = usage.ru_utime + usage.ru_stime
        return Outcome(program.name, process.returncode, time.monotonic() - start, cpu_seconds), output.read()
