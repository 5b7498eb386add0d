"""The deployment files: what they copy exists, and the commands they run serve, in a folder made the same way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import REPOSITORY, TINY_BUNDLE
from webapp.__main__ import build_parser

DEPLOY = REPOSITORY / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "space" / "Dockerfile"]


def webapp_flags(text: str) -> list[str]:
    """Return the flags after ``python -m webapp`` in a file, whatever quotes and brackets stand around them."""
    command = re.search(r"-m[\s\",]+webapp(.*?)(?:\n[^\s]|\n\s+ports|\Z)", text, re.DOTALL)
    assert command is not None
    return [word for word in re.split(r"[\s\",\[\]\\]+", command[1].replace("${PORT}", "8000")) if word]


@pytest.mark.parametrize("name", ["Dockerfile", "space/Dockerfile", "dermedge-web.service", "kubernetes.yaml"])
def test_commands_use_flags_that_exist(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    arguments = build_parser().parse_args(webapp_flags(text))
    assert arguments.engine == "onnx"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["image", "space"])
def test_what_an_image_copies_from_the_repository_exists(dockerfile: Path) -> None:
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert source in ("${BUNDLE}", "bundle") or (REPOSITORY / source).exists(), source


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["image", "space"])
def test_images_do_not_run_as_root(dockerfile: Path) -> None:
    *_, last_stage = re.split(r"^FROM ", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.search(r"^USER [1-9]\d+$", last_stage, re.MULTILINE)


@pytest.mark.skipif(shutil.which("hadolint") is None and not Path(sys.executable).with_name("hadolint").exists(),
                    reason="hadolint is not installed")  # fmt: skip
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["image", "space"])
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint") or str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run([hadolint, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_space_is_whole_and_serves(tmp_path: Path) -> None:
    space = tmp_path / "space"
    command = [sys.executable, str(DEPLOY / "make_space.py"), "--bundle", str(TINY_BUNDLE), "--output", str(space)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    front_matter = (space / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert "sdk: docker" in front_matter
    assert "app_port: 7860" in front_matter
    started = json.loads(
        re.search(r"^CMD (\[.*\])$", (space / "Dockerfile").read_text().replace("\\\n", ""), re.MULTILINE)[1]
    )  # type: ignore[index]
    started = [sys.executable if word == "python" else "0" if word == "7860" else word for word in started]
    environment = {**os.environ, "DERMEDGE_BUNDLE": str(space / "bundle"), "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(started, cwd=space, env=environment, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            port = re.search(r":(\d+)/", child.stdout.readline())[1]  # type: ignore[index]
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
                assert json.load(answer) == {"status": "ready"}
        finally:
            child.terminate()
            child.wait(timeout=30)


def test_space_refuses_an_existing_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(DEPLOY / "make_space.py"), "--bundle", str(TINY_BUNDLE), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}: expected a new folder, found one that exists\n")
