"""Every check of style, types, contracts and security: ``python -m tools.lint`` (``make lint``).

All of them run, also after one has failed; the exit status is 1 when any has.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.processes import REPOSITORY, Program, run_all, summary

BIN = Path(sys.executable).parent
BANDIT = "--quiet", "--configfile", "pyproject.toml", "--recursive"
ISSUE_FORMS = ".github/ISSUE_TEMPLATE/bug_report.yml", ".github/ISSUE_TEMPLATE/feature_request.yml"


def linters() -> list[Program]:
    """Return the checks, the slowest first."""
    schema = (str(BIN / "check-jsonschema"), "--builtin-schema")
    return [
        Program("types (mypy)", (str(BIN / "mypy"),)),
        Program("import contracts (import-linter)", (str(BIN / "lint-imports"), "--no-logo")),
        Program("security (bandit)", (str(BIN / "bandit"), *BANDIT, "edge_runtime", "webapp")),
        Program("spelling (codespell)", (str(BIN / "codespell"), *text_files())),
        Program("style (ruff check)", (str(BIN / "ruff"), "check", "--output-format", "concise", ".")),
        Program("format (ruff format)", (str(BIN / "ruff"), "format", "--check", ".")),
        Program("workflows (check-jsonschema)", (*schema, "vendor.github-workflows", ".github/workflows/ci.yml")),
        Program("issue forms (check-jsonschema)", (*schema, "vendor.github-issue-forms", *ISSUE_FORMS)),
    ]


def text_files() -> list[str]:
    """Return the tracked and new files that codespell reads; pyproject.toml says which of them it skips."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return [name for name in listed.split("\0") if name and (REPOSITORY / name).is_file()]


def main() -> int:
    """Run every check and return the exit status."""
    outcomes = run_all(linters(), workers=2)
    print(summary(outcomes))
    return int(any(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
