"""Whatever is wrong with one item's name, heat map or line is that item's error; with the stream, it is one line."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.errors import DataError, run_command_line
from edge_runtime.io.output import write_text
from edge_runtime.vocabulary import OutputFormat
from tests.conftest import REPOSITORY, TINY_BUNDLE, blob_image

FLAGS = ["--bundle", str(TINY_BUNDLE), "--engine", installed_engines()[0]]
NAMES = [
    "Läsion.jpg", "病変.jpg", "emoji-🔬.jpg", "line\nbreak.jpg", "tab\t.jpg", 'quote",;.jpg', "clear\x1b[2J.jpg",
    "back\u202egpj.exe.jpg", "separator\u2028.jpg", os.fsdecode(b"\xff.jpg"),
]  # fmt: skip


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    for name in NAMES:
        blob_image(60, 50).save(tmp_path / name)
    return tmp_path


def run(*arguments: object, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line, in a shell where its streams are to be redirected."""
    command = [sys.executable, "-m", "edge_runtime", *map(str, arguments)]
    if redirect:
        command = ["sh", "-c", f'"$@" {redirect}', "sh", *command]
    return subprocess.run(
        command, capture_output=True, cwd=REPOSITORY, env={**os.environ, **environment}, check=False, timeout=120
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize("file_format", get_args(OutputFormat))
def test_any_name_is_printed_on_any_terminal(file_format: str, encoding: str, odd_folder: Path) -> None:
    finished = run("predict", odd_folder, *FLAGS, "--format", file_format, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert finished.returncode == 0, finished.stderr
    text = finished.stdout.decode(encoding)
    if file_format == "jsonl":
        assert {json.loads(line)["image"] for line in text.splitlines()} == {str(odd_folder / name) for name in NAMES}
    elif file_format == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == len(NAMES)
    else:
        assert len(text.splitlines()) == len(NAMES) + (file_format == "table")
    if file_format != "jsonl":
        assert not set(text) & set("\x1b\u202e\u2028\t")
    assert b"Traceback" not in finished.stderr


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_name_is_printed_in_an_error(encoding: str, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"no image")
    finished = run("predict", tmp_path, *FLAGS, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert finished.returncode == 1
    assert finished.stderr.count(b"error: ") == len(NAMES)
    assert b"Traceback" not in finished.stderr
    finished = run("explain", tmp_path / NAMES[1], *FLAGS, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (finished.returncode, finished.stderr.count(b"error: ")) == (1, 1), finished.stderr
    assert b"Traceback" not in finished.stderr


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_any_name_is_found_again_on_resume(
    suffix: str, odd_folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path_factory.mktemp("results") / f"results{suffix}"
    command = ["predict", str(odd_folder), *FLAGS, "--output", str(output)]
    assert main(command) == main([*command, "--resume"]) == 0
    assert f"0 predicted, 0 unusable, {len(NAMES)} already done" in capsys.readouterr().err


def test_the_shared_case() -> None:
    folder = REPOSITORY.parent / "shared" / "cases" / "names"
    if not folder.is_dir():
        pytest.skip(f"the cases are not at {folder.parent}")
    finished = run("predict", folder, *FLAGS, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (finished.returncode, finished.stdout.count(b"\n")) == (0, 2)


def test_a_heat_map_that_cannot_be_written_is_that_images_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, maps = tmp_path / "images", tmp_path / "maps"
    images.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        blob_image(60, 50).save(images / name)
    (maps / "b.png").mkdir(parents=True)  # a folder where the file should go
    assert main(["predict", str(images), *FLAGS, "--explain", str(maps), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert lines[1]["error"] == f"{maps / 'b.png'}: cannot be written: Is a directory"
    assert sorted(path.name for path in maps.iterdir()) == ["a.png", "b.png", "c.png"]


def test_the_longest_name_has_its_heat_map(tmp_path: Path) -> None:
    name = 251 * "x"
    blob_image(60, 50).save(tmp_path / f"{name}.jpg")
    assert main(["predict", str(tmp_path), *FLAGS, "--explain", str(tmp_path / "maps")]) == 0
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [f"{name}.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["found full at the end", "found full at once"])
@pytest.mark.parametrize("command", ["predict", "info", "verify", "help", "completion"])
def test_a_full_output_is_one_line_and_a_status(command: str, unbuffered: str, image_folder: Path) -> None:
    arguments: list[object] = {
        "predict": ["predict", image_folder, *FLAGS, "--json"],
        "info": ["info", "--bundle", TINY_BUNDLE],
        "verify": ["verify", "--bundle", TINY_BUNDLE, "--json"],
        "help": ["predict", "--help"],
        "completion": ["completion", "bash"],
    }[command]
    finished = run(*arguments, redirect=">/dev/full", PYTHONUNBUFFERED=unbuffered)
    expected = rb"error: (standard )?output: cannot be written: No space left on device\n"
    assert finished.returncode == 1
    assert re.fullmatch(expected, finished.stderr)


def test_wrong_usage_has_its_status_where_no_stream_is_open() -> None:
    assert run("predict", redirect=">&- 2>&- <&-").returncode == 2


def test_a_closed_output_is_one_line_and_a_status(image_folder: Path) -> None:
    finished = run("predict", image_folder, *FLAGS, "--json", redirect=">&-")
    expected = b"error: standard output: expected an open stream, found a closed one\n"
    assert (finished.returncode, finished.stderr) == (1, expected)


def test_a_reader_that_leaves_ends_the_run_in_one_line(image_folder: Path) -> None:
    command = [sys.executable, "-m", "edge_runtime", "predict", *[str(image_folder)] * 40, *FLAGS, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), errors) == (1, b"error: standard output: cannot be written: Broken pipe\n")


def test_a_full_disk_names_the_result_file_and_loses_no_line(image_folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk's."""
    output = tmp_path / "results.jsonl"
    arguments = [*[str(image_folder)] * 4, *FLAGS, "--output", str(output)]
    command = [sys.executable, "-m", "edge_runtime", "predict", *arguments]
    finished = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *command],
        capture_output=True, cwd=REPOSITORY, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert finished.returncode == 1
    assert finished.stderr.decode().splitlines()[-1] == f"error: {output}: cannot be written: File too large"
    assert b"Traceback" not in finished.stderr
    written = output.read_text().count("\n")
    assert 0 < written < 24
    assert main(["predict", str(image_folder), *FLAGS, "--output", str(output), "--resume"]) == 0
    assert {json.loads(line)["image"] for line in output.read_text().splitlines()} == {
        str(path) for path in image_folder.iterdir()
    }


def test_results_go_to_regular_files_only(image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full.jsonl").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("full.jsonl", "pipe.jsonl"):
        with pytest.raises(DataError, match=rf"{name}: expected a regular file, found something else"):
            main(["predict", str(image_folder), *FLAGS, "--output", str(tmp_path / name), "--resume"])


def test_standard_input_that_cannot_be_read_is_that_items_error(image_folder: Path) -> None:
    image = image_folder / "lesion-0.jpg"
    for redirect, reason in (("<&-", "is closed"), ("</proc/self/mem", "cannot be read: "), ("</dev/null", "empty")):
        finished = run("predict", "-", image, *FLAGS, "--json", redirect=redirect)
        lines = {line["image"]: line for line in map(json.loads, finished.stdout.splitlines())}
        assert finished.returncode == 1
        assert reason in lines["-"]["error"]
        assert "label" in lines[str(image)]


def test_pipes_and_devices_among_the_arguments_are_refused_by_name(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    image = str(image_folder / "lesion-0.jpg")
    arguments = [str(tmp_path / "pipe.jpg"), str(tmp_path / "p*.jpg"), "/dev/zero", image]
    assert main(["predict", *arguments, *FLAGS, "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [line.get("error", "").partition("found ")[2] for line in lines]
    assert found == [*["a named pipe (pass its content on stdin, as -)"] * 2, "a device", ""]


def test_the_shells_own_pipes_are_read(image_folder: Path) -> None:
    """As in ``predict <(cat lesion.jpg)``."""
    command = f'exec 9<"{image_folder}/lesion-0.jpg"; cat <&9 | "$@"'
    arguments = [sys.executable, "-m", "edge_runtime", "predict", "/dev/stdin", *FLAGS, "--json"]
    finished = subprocess.run(["sh", "-c", command, "sh", *arguments], capture_output=True, cwd=REPOSITORY, check=False)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["label"]


def test_what_a_folder_left_out_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob_image(60, 50).save(tmp_path / "a.jpg")
    (tmp_path / "@eaDir").mkdir()
    blob_image(60, 50).save(tmp_path / "@eaDir" / "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "none")
    assert main(["predict", str(tmp_path), *FLAGS, "--json"]) == 1
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert lines[0]["image"] == str(tmp_path / "gone.jpg") or "label" in lines[0]
    assert {line["image"] for line in lines} == {str(tmp_path / "a.jpg"), str(tmp_path / "gone.jpg")}
    assert f"passed over 1 (trash, thumbnails or versions of another program): {tmp_path / '@eaDir'}\n" in captured.err


def test_what_a_streams_encoding_lacks_is_written_as_escapes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    write_text(stream, "Läsion 病変\n")
    assert stream.buffer.getvalue() == rb"L\xe4sion \u75c5\u5909" + b"\n"  # type: ignore[attr-defined]


def test_every_command_prints_any_name(tmp_path: Path) -> None:
    blob_image(60, 50).save(tmp_path / "a.jpg")
    output = tmp_path / "病変.png"
    finished = run("explain", tmp_path / "a.jpg", *FLAGS, "--output", output, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (finished.returncode, finished.stderr.count(b"Traceback")) == (0, 0)
    assert rb"\u75c5\u5909.png" in finished.stdout
    assert output.is_file()


def test_a_stream_that_fails_is_named() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(DataError, match=r"^results: cannot be written: I/O operation on closed file$"):
        write_text(stream, "line", "results")
    with pytest.raises(DataError, match=r"^results: expected an open stream, found a closed one$"):
        write_text(None, "line", "results")


def test_any_other_error_of_the_system_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        return len(Path("/nowhere/at all").read_bytes())

    assert run_command_line(failing) == 1
    assert capsys.readouterr().err == "error: /nowhere/at all: No such file or directory\n"


def test_an_error_of_the_network_is_not_called_output(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> int:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            first.listen()
            second.bind(first.getsockname())
        return 0

    assert run_command_line(failing) == 1
    assert capsys.readouterr().err == "error: Address already in use\n"
