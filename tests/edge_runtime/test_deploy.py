"""What puts the runtime on a device: the service, the installer, the kiosk's recipe."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.cli.parser import build_parser
from tests.conftest import REPOSITORY

UNIT = REPOSITORY / "deploy" / "edge" / "dermedge-watch.service"
SCRIPTS = sorted([*(REPOSITORY / "deploy" / "edge").glob("*.sh"), *(REPOSITORY / "tests" / "kiosk").glob("*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    assert "set -euo pipefail" in script.read_text()
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not shellcheck:
        pytest.skip("shellcheck is not installed here")
    finished = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


def test_the_service_runs_a_command_that_exists() -> None:
    (command,) = re.findall(r"^ExecStart=/opt/dermedge/venv/bin/dermedge (.*)$", UNIT.read_text(), re.MULTILINE)
    options = build_parser().parse_args(shlex.split(command))
    assert (options.command, str(options.folder)) == ("watch", "/srv/dermedge/in")


def test_the_service_is_exposed_to_next_to_nothing() -> None:
    """``systemd-analyze`` rates exposure from 0 to 10; its threshold is in tenths."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed here")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=10", str(UNIT)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout[-300:] + finished.stderr
