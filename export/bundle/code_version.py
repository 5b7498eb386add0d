"""Which version of the code makes a bundle, and whether git could give it back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edge_runtime.errors import ExportError
from edge_runtime.version import __version__

SOURCE = Path(__file__).parent
DIRTY = "-dirty"


def code_version(source: Path = SOURCE) -> str:
    """Return the project's version and, in a git checkout, the commit, marked when files differ from it."""
    commit = _commit(source)
    return __version__ if commit is None else f"{__version__} ({commit})"


def refuse_uncommitted(source: Path = SOURCE) -> None:
    """Raise :class:`ExportError` unless the code is that of a commit, which readers of a bundle can look up."""
    commit = _commit(source)
    if commit is None or commit.endswith(DIRTY):
        found = "no git checkout" if commit is None else "uncommitted changes"
        raise ExportError(f"--publish: a bundle to be published must come from a committed tree, found {found}")


def _commit(source: Path) -> str | None:
    git = ["git", "-C", str(source), "describe", "--always", f"--dirty={DIRTY}", "--abbrev=10"]
    try:
        described = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
        return described.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
