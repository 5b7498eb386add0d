"""Size and licence of every requirement as installed here: ``python -m tools.dependencies``.

docs/dependencies.md has these numbers, and why each requirement is there.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

from tools.processes import REPOSITORY


def requirements() -> dict[str, list[str]]:
    """Return the packages that each file of ``requirements/`` names, by the file's name."""
    listed = {}
    for path in sorted((REPOSITORY / "requirements").glob("*.txt")):
        lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
        listed[path.name] = [re.split(r"[\[=<>~! ]", line)[0] for line in lines if line and not line.startswith("-r")]
    return listed


def describe(name: str) -> str:
    """Return the size in MB of the package's own files, and the licence that its metadata states."""
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed here"
    paths = [Path(str(file.locate())) for file in package.files or []]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    stated = package.metadata.json
    classifiers = [line.rpartition(":: ")[2] for line in stated.get("classifier", []) if line.startswith("License")]
    named = [stated.get("license_expression"), str(stated.get("license", "")).partition("\n")[0], *classifiers]
    licence = next(filter(None, named), "not stated")
    return f"{size / 1e6:.1f} MB, {licence}"


def main() -> int:
    """Print a line for each package, under its file."""
    for file, names in requirements().items():
        print(f"{file}")
        for name in names:
            print(f"  {name}: {describe(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
