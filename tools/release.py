"""Build a release and say how to tag it: ``python -m tools.release`` (``make release``).

It refuses a tree with uncommitted changes and a version without a section of its own in ``CHANGELOG.md``, builds sdist
and wheel into ``dist/`` from a clean copy of the commit, and checks what is in the wheel. It tags and uploads nothing.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from edge_runtime.version import __version__
from tools.processes import REPOSITORY

PACKAGES = {"edge_runtime", "webapp"}
REQUIRED = (
    "edge_runtime/py.typed",
    "webapp/py.typed",
    "webapp/templates/index.html",
    "webapp/texts/en.json",
    "webapp/static/style.css",
)


class ReleaseError(Exception):
    """Why there is no release, in one line."""


def check_tree(repository: Path) -> None:
    """Refuse uncommitted changes: what is released must be a commit."""
    changed = _git(repository, "status", "--porcelain").decode().splitlines()
    if changed:
        raise ReleaseError(
            f"expected a clean working tree, found {len(changed)} uncommitted files: {changed[0][3:]}, …"
        )


def check_changelog(text: str, version: str) -> None:
    """Refuse a version that the changelog does not describe under a heading of its own, or only with empty words."""
    section = re.search(rf"^## \[?{re.escape(version)}\b.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md: expected a section '## {version} – date' that says what changed, found none")


def check_wheel(wheel: Path, version: str) -> list[str]:
    """Return the names in the wheel. Refuse one that lacks a file or holds anything but the two packages."""
    if wheel.name != f"dermedge-{version}-py3-none-any.whl":
        raise ReleaseError(f"{wheel.name}: expected dermedge-{version}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    information = f"dermedge-{version}.dist-info"
    strangers = [name for name in names if name.split("/")[0] not in {*PACKAGES, information}]
    if strangers:
        raise ReleaseError(f"{wheel.name}: expected only {' and '.join(sorted(PACKAGES))}, found {strangers[0]}")
    for name in (*REQUIRED, f"{information}/licenses/LICENSE", f"{information}/licenses/NOTICE"):
        if name not in names:
            raise ReleaseError(f"{wheel.name}: expected {name} in it, found {len(names)} other files")
    unwanted = [name for name in names if re.search(r"(^|/)(node_modules|__pycache__|tests)/", name)]
    if unwanted:
        raise ReleaseError(f"{wheel.name}: expected no {unwanted[0]}")
    return names


def build(repository: Path, output: Path) -> tuple[Path, Path]:
    """Build sdist and wheel from the commit alone (``git archive``), with the page's in-browser files where built."""
    with tempfile.TemporaryDirectory(prefix="dermedge-release-") as name:
        source = Path(name)
        with tarfile.open(fileobj=io.BytesIO(_git(repository, "archive", "HEAD"))) as commit:
            commit.extractall(source, filter="data")
        in_browser = repository / "webapp" / "static" / "litert"
        if in_browser.is_dir():
            shutil.copytree(in_browser, source / "webapp" / "static" / "litert")
        code = "from setuptools import build_meta; build_meta.build_sdist('dist'); build_meta.build_wheel('dist')"
        command = (sys.executable, "-W", "ignore", "-c", code)
        built = subprocess.run(command, cwd=source, check=False, capture_output=True, text=True)  # noqa: S603
        if built.returncode:
            raise ReleaseError(f"the build failed: {built.stderr.strip().splitlines()[-1]}")
        output.mkdir(exist_ok=True)
        (sdist,), (wheel,) = (source / "dist").glob("*.tar.gz"), (source / "dist").glob("*.whl")
        return Path(shutil.copy(sdist, output)), Path(shutil.copy(wheel, output))


def main() -> int:
    """Check, build, and print the next commands; return the exit status."""
    try:
        check_tree(REPOSITORY)
        check_changelog((REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), __version__)
        sdist, wheel = build(REPOSITORY, REPOSITORY / "dist")
        names = check_wheel(wheel, __version__)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not any(name.startswith("webapp/static/litert/") for name in names):
        print("note: the page's in-browser part is not in the wheel, since node has not built it (make setup)")
    for path in (sdist, wheel):
        print(f"{path.relative_to(REPOSITORY)}  {path.stat().st_size / 1e6:.2f} MB")
    print(
        f"next: git tag --annotate v{__version__} --message 'dermedge {__version__}' && git push origin v{__version__}"
    )
    return 0


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True).stdout  # noqa: S603, S607


if __name__ == "__main__":
    sys.exit(main())
