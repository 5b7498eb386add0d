"""A bundle appears whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import ExportError
from export.bundle import writer as bundle_writer
from export.bundle.writer import new_bundle


def write(output: Path, text: str) -> None:
    """Write a stand-in for a bundle."""
    with new_bundle(output) as folder:
        (folder / "manifest.json").write_text(text)


def test_new_and_replaced(tmp_path: Path) -> None:
    output = tmp_path / "models" / "one"
    write(output, "first")
    (output / "left-over.onnx").write_text("of the first")
    write(output, "second")
    assert [path.name for path in output.iterdir()] == ["manifest.json"]
    assert (output / "manifest.json").read_text() == "second"
    assert [path.name for path in output.parent.iterdir()] == ["one"]


def test_without_atomic_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_writer, "_exchange", lambda *_: False)
    write(tmp_path / "one", "first")
    write(tmp_path / "one", "second")
    assert (tmp_path / "one" / "manifest.json").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_failure_leaves_the_old_bundle(tmp_path: Path) -> None:
    write(tmp_path / "one", "first")
    with pytest.raises(ExportError, match="tolerance"), new_bundle(tmp_path / "one") as folder:
        (folder / "manifest.json").write_text("half")
        raise ExportError("a tolerance is broken")
    assert (tmp_path / "one" / "manifest.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_full_disk_leaves_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", "first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bundle_writer.os, "fsync", full)
    with pytest.raises(ExportError, match="one: cannot be written: No space left on device"):
        write(tmp_path / "one", "second")
    assert (tmp_path / "one" / "manifest.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_disk_that_fills_up_while_graphs_are_written(small_disk: Path) -> None:
    output = small_disk / "one"
    write(output, "first")
    with (
        pytest.raises(ExportError, match="one: cannot be written: No space left on device"),
        new_bundle(output) as folder,
    ):
        (folder / "features.fp32.onnx").write_bytes(bytes(1 << 20))
    assert (output / "manifest.json").read_text() == "first"
    assert [path.name for path in small_disk.iterdir()] == ["one"]
    write(output, "second")  # and the space is free again


def test_disk_that_becomes_read_only(small_disk: Path) -> None:
    output = small_disk / "one"
    write(output, "first")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ExportError, match="one: cannot be written: Read-only file system"):
        write(output, "second")
    assert (output / "manifest.json").read_text() == "first"


def test_other_mistakes_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_bundle(tmp_path / "one"):
        (tmp_path / "nowhere").read_text()
    assert not list(tmp_path.iterdir())


def test_kill_leaves_the_old_bundle_and_the_next_export_cleans_up(tmp_path: Path) -> None:
    write(tmp_path / "one", "first")
    program = (
        "import sys, time; from pathlib import Path; from export.bundle.writer import new_bundle\n"
        "with new_bundle(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'manifest.json').write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "one")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / "one" / "manifest.json").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 2
    write(tmp_path / "one", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
