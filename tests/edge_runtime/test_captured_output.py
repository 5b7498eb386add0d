"""Output of C++ libraries is captured below Python, and everything that matters comes out again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge_runtime.captured_output import captured_output, without_information_lines
from tests.conftest import REPOSITORY


def test_descriptors_are_captured_and_restored(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_output(1, 2) as captured:
        os.write(1, b"from C++\n")
        os.write(2, b"an error\n")
    os.write(1, b"after\n")
    assert captured.data == b"from C++\nan error\n"
    assert capfd.readouterr() == ("after\n", "")


def test_a_capture_inside_a_capture(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_output(1, 2) as outer, without_information_lines():
        os.write(2, b"INFO: hello\nWARNING: odd\n")
    assert outer.data == b"WARNING: odd\n"
    assert capfd.readouterr() == ("", "")


def test_a_failure_inside_passes_and_loses_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="refused"), without_information_lines():
        os.write(2, b"INFO: hello\nERROR: why\n")
        raise ValueError("refused")
    assert capfd.readouterr().err == "ERROR: why\n"


def test_closed_standard_error_stays_closed() -> None:
    code = (
        "import os; from edge_runtime.captured_output import captured_output, without_information_lines\n"
        "os.close(2)\n"
        "with without_information_lines(): pass\n"
        "with captured_output(1, 2) as captured: os.write(1, b'x')\n"
        "try: os.fstat(2)\n"
        "except OSError: print('closed', captured.data)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert finished.stdout == "closed b'x'\n"
