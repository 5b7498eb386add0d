"""The command line as other programs use it: a child process, its output, its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.bundle.classes import ham10000
from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.imaging.formats import refusal_of
from tests.conftest import REPOSITORY

ENGINE = installed_engines()[0]


def run(
    *arguments: object, environment: dict[str, str] | None = None, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edge_runtime", *map(str, arguments)]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, cwd=REPOSITORY, check=False)


def test_json_lines(image_folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no image")
    finished = run("predict", damaged, image_folder, "--bundle", tiny_bundle, "--engine", ENGINE, "--json")
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert finished.returncode == 1
    assert lines[0] == {
        "image": str(damaged),
        "error": f"{damaged}: {refusal_of(None)}",
    }
    assert [Path(line["image"]).name for line in lines[1:]] == [f"lesion-{number}.jpg" for number in range(6)]
    prediction = lines[1]
    assert list(prediction["probabilities"]) == list(ham10000().codes)
    assert prediction["engine"] == ENGINE
    assert prediction["precision"] == "int8"
    assert {"decode", "features", "head"} <= set(prediction["timing_ms"])
    assert any("demo" in warning for warning in prediction["warnings"])


def test_text_output_and_maps(image_folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    image = image_folder / "lesion-0.jpg"
    finished = run("predict", image, image, "--bundle", tiny_bundle, "--engine", ENGINE, "--explain", maps)
    assert finished.returncode == 0
    assert finished.stdout.decode().count(f"{image}: ") == 2
    assert "demo model" in finished.stderr.decode()
    assert sorted(path.name for path in maps.iterdir()) == ["lesion-0-2.png", "lesion-0.png"]
    with Image.open(maps / "lesion-0.png") as overlay:
        assert overlay.size == (448, 224)


def test_stdin(image_folder: Path, tiny_bundle: Path) -> None:
    image = image_folder / "lesion-3.jpg"
    options = ("--bundle", tiny_bundle, "--engine", ENGINE, "--json")
    from_stdin = json.loads(run("predict", "-", *options, stdin=image.read_bytes()).stdout)
    from_file = json.loads(run("predict", image, *options).stdout)
    assert from_stdin["image"] == "-"
    assert from_stdin["probabilities"] == from_file["probabilities"]


def test_folder_and_single_answers_are_the_same(image_folder: Path, tiny_bundle: Path) -> None:
    options = ("--bundle", tiny_bundle, "--engine", ENGINE, "--json", "--threads", "2")
    folder = [json.loads(line) for line in run("predict", image_folder, *options).stdout.splitlines()]
    single = json.loads(run("predict", image_folder / "lesion-2.jpg", *options).stdout)
    assert folder[2]["probabilities"] == pytest.approx(single["probabilities"], abs=1e-6)


def test_empty_folder(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tmp_path), "--bundle", str(tiny_bundle), "--engine", ENGINE]) == 1
    assert f"error: {tmp_path}: expected images in this folder, found none" in capsys.readouterr().err


def test_errors_are_one_line_and_no_traceback(tmp_path: Path) -> None:
    finished = run("info", "--bundle", tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.decode() == f"error: {tmp_path}/manifest.json: cannot be read: No such file or directory\n"


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["predict", "a.jpg", "--threads", "0"])
    assert raised.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_info(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--bundle", str(tiny_bundle)]) == 0
    text = capsys.readouterr().out
    assert "all 12 graph files verified" in text
    assert "demo model" in text
    assert main(["info", "--bundle", str(tiny_bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tiny_bundle / "manifest.json").read_text())
