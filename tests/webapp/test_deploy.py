"""The deployment files: what they copy exists, and the commands they run serve, in a folder made the same way."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import kubernetes_validate
import pytest
import yaml

from edge_runtime import Classifier
from tests.conftest import REPOSITORY, TINY_BUNDLE, blob_image, encoded
from tools.hostile_bodies import FORM_TYPE, form_body
from webapp.__main__ import build_parser

DEPLOY = REPOSITORY / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "space" / "Dockerfile"]


PIP_REACHES = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "0", "index", "versions"]


@contextmanager
def serving(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Run a command that serves, in a folder, until the block ends: ``(host, port)``."""
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            port = re.search(r":(\d+)/", child.stdout.readline())[1]  # type: ignore[index]
            yield "127.0.0.1", int(port)
        finally:
            child.terminate()
            child.wait(timeout=30)


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


def test_compose_file_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_objects_fit_their_schemas() -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
    kinds = [each["kind"] for each in objects]
    assert kinds == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    for each in objects:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    labels = objects[0]["spec"]["template"]["metadata"]["labels"]
    assert labels == objects[1]["spec"]["selector"] == objects[3]["spec"]["selector"]["matchLabels"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "dermedge-web.service").read_text(encoding="utf-8")
    unit = tmp_path / "dermedge-web.service"
    unit.write_text(text.replace("/opt/dermedge/venv/bin/python", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_image_serves_from_a_fresh_environment_and_folder(tmp_path: Path) -> None:
    """What the Dockerfile runs, step by step: a new environment, the served requirements, the copies, the command."""
    if subprocess.run([*PIP_REACHES, "waitress"], capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached")
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    (tmp_path / "requirements").mkdir()
    for name in ("edge.txt", "web.txt"):
        shutil.copy(REPOSITORY / "requirements" / name, tmp_path / "requirements")
    install = re.search(r"^RUN (python -m venv .*)$", text, re.MULTILINE)[1]  # type: ignore[index]
    install = install.replace("/venv", str(tmp_path / "venv")).replace("/requirements", f"{tmp_path}/requirements")
    install = install.replace("python -m", f"{sys.executable} -m").replace("--no-cache-dir", "--quiet")
    subprocess.run(["sh", "-ec", install], check=True, cwd=tmp_path)
    app = tmp_path / "app"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for package in ("edge_runtime", "webapp"):
        shutil.copytree(REPOSITORY / package, app / package, ignore=ignored)
    started = json.loads(re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)[1])  # type: ignore[index]
    started[-1] = started[-1].replace("0.0.0.0", "127.0.0.1")
    environment = {
        "PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}",
        "PORT": "0",
        "DERMEDGE_BUNDLE": str(TINY_BUNDLE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    before = sorted(app.rglob("*"))
    image = encoded(blob_image())
    with serving(started, app, environment) as (host, port):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("POST", "/api/v1/predict", form_body(image), {"Content-Type": FORM_TYPE})
        response = connection.getresponse()
        with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
            assert (response.status, json.load(response)["label"]) == (200, classifier.predict(image).label)
        connection.close()
    assert sorted(app.rglob("*")) == before


@pytest.mark.slow
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
    with serving(started, space, environment) as (host, port):  # noqa: SIM117
        with urlopen(f"http://{host}:{port}/readyz", timeout=30) as response:
            assert json.load(response) == {"status": "ready"}


def test_space_refuses_an_existing_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(DEPLOY / "make_space.py"), "--bundle", str(TINY_BUNDLE), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}: expected a new folder, found one that exists\n")
