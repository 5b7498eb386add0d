"""``make release`` refuses what must not be released, and what it builds runs nothing but the two packages."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from edge_runtime.version import __version__
from tests.conftest import REPOSITORY
from tools.release import REQUIRED, ReleaseError, build, check_changelog, check_tree, check_wheel

LICENCES = tuple(f"dermedge-1.2.3.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE"))


def write_wheel(folder: Path, names: tuple[str, ...], version: str = "1.2.3") -> Path:
    wheel = folder / f"dermedge-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return wheel


@pytest.mark.parametrize("heading", ["## 1.2.3 – 2026-11-28", "## [1.2.3] - 2026-11-28"])
def test_a_changelog_with_the_version_is_accepted(heading: str) -> None:
    check_changelog(f"# Changelog\n\n## Unreleased\n\n{heading}\n\n- All of it.\n", "1.2.3")


@pytest.mark.parametrize(
    "text", ["# Changelog\n", "## 1.2.30\n- no\n", "## 1.2.3\n\n## 1.2.2\n- before\n", "## 1x2x3\n- no\n"]
)
def test_a_changelog_without_the_version_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match=r"CHANGELOG\.md: expected a section '## 1\.2\.3"):
        check_changelog(text, "1.2.3")


def test_a_tree_with_uncommitted_changes_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    check_tree(tmp_path)
    (tmp_path / "new.txt").write_text("not committed")
    with pytest.raises(ReleaseError, match=r"found 1 uncommitted files: new\.txt"):
        check_tree(tmp_path)


@pytest.mark.parametrize("stranger", ["tools/release.py", "tests/test_a.py", "models/a.onnx", "LICENSE"])
def test_a_wheel_with_anything_else_is_refused(tmp_path: Path, stranger: str) -> None:
    wheel = write_wheel(tmp_path, (*REQUIRED, *LICENCES, stranger))
    with pytest.raises(ReleaseError, match=f"expected only edge_runtime and webapp, found {stranger}"):
        check_wheel(wheel, "1.2.3")


@pytest.mark.parametrize("missing", [*REQUIRED, *LICENCES])
def test_a_wheel_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    wheel = write_wheel(tmp_path, tuple(name for name in (*REQUIRED, *LICENCES) if name != missing))
    with pytest.raises(ReleaseError, match=f"expected {missing} in it"):
        check_wheel(wheel, "1.2.3")


def test_a_wheel_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"expected dermedge-1\.2\.4-py3-none-any\.whl"):
        check_wheel(write_wheel(tmp_path, (*REQUIRED, *LICENCES)), "1.2.4")


@pytest.mark.slow
def test_this_commit_builds(tmp_path: Path) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    sdist, wheel = build(REPOSITORY, tmp_path)
    assert sdist.name == f"dermedge-{__version__}.tar.gz"
    names = check_wheel(wheel, __version__)
    assert "edge_runtime/classifier.py" in names
