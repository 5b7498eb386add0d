"""The documentation is under test: every command, flag and target that exists is written down."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def documentation(*names: str) -> str:
    return "\n".join((REPOSITORY / name).read_text(encoding="utf-8") for name in names)


def make_targets() -> list[str]:
    """Return the targets that `make help` shows."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z0-9-]+):.*## ", text, flags=re.MULTILINE)


def test_there_are_targets() -> None:
    assert {"demo", "test", "train", "export", "web"} <= set(make_targets())


@pytest.mark.parametrize("target", make_targets())
def test_every_target_is_documented(target: str) -> None:
    everything = documentation("README.md", "CONTRIBUTING.md", *[f"docs/{path.name}" for path in DOCS])
    assert f"make {target}" in everything


DOCS = sorted((REPOSITORY / "docs").glob("*.md"))


COMMANDS = {
    "docs/training.md": [
        "train",
        "train.data.report",
        "train.augmentation.contact_sheet",
        "train.data.download",
        "train.learning.benchmark",
        "train.augmentation.benchmark",
        "train.calibrate",
        "train.demo.dataset",
    ],
    "docs/evaluation.md": ["train.evaluate"],
    "docs/export.md": ["export", "export.card", "export.recover_weights"],
    "docs/edge.md": [
        f"edge_runtime {name}" for name in ("predict", "bench", "info", "verify", "explain", "watch", "camera")
    ],
    "docs/web.md": ["webapp", "tools.load_test", "tools.fuzz_uploads"],
}


@pytest.mark.parametrize(("document", "command"), [(name, one) for name, many in COMMANDS.items() for one in many])
def test_every_flag_is_documented(document: str, command: str) -> None:
    """The flags that ``--help`` shows stand in the room's document, or in one that the room's document names."""
    arguments = [sys.executable, "-m", *command.split(), "--help"]
    help_text = subprocess.run(arguments, capture_output=True, text=True, cwd=REPOSITORY, check=True).stdout
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", help_text)) - {"--help"}
    text = documentation(document, "docs/evaluation.md", "docs/training.md")
    missing = sorted(flag for flag in flags if flag not in text and not flag.startswith("--no-"))
    assert not missing


@pytest.mark.parametrize("document", [REPOSITORY / "README.md", *DOCS], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
