"""The commands beyond ``predict IMAGE``: formats, resuming, stopping, watching, stand-ins for a camera, completion."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

import edge_runtime.classifier
from edge_runtime.bench.scripts import LAUNCHER
from edge_runtime.bundle.classes import ham10000
from edge_runtime.cli.main import main
from edge_runtime.cli.parser import COMMANDS
from edge_runtime.engines import installed_engines
from edge_runtime.errors import BundleError, DataError, ImageError
from edge_runtime.interruption import Interruption
from edge_runtime.vocabulary import ENGINE_CHOICES, OutputFormat
from tests.conftest import REPOSITORY, blob_image

ENGINE = installed_engines()[0]


@pytest.fixture
def flags(tiny_bundle: Path) -> list[str]:
    return ["--bundle", str(tiny_bundle), "--engine", ENGINE]


@pytest.fixture
def folder(image_folder: Path, tmp_path: Path) -> Path:
    """A copy of the six images that a test may change."""
    return Path(shutil.copytree(image_folder, tmp_path / "images"))


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_csv(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lesion-9.jpg").write_bytes(b"no image")
    assert main(["predict", str(folder), *flags, "--format", "csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 7
    assert sum(float(rows[0][code]) for code in ham10000().codes) == pytest.approx(1)
    assert float(rows[0]["confidence"]) == max(float(rows[0][code]) for code in ham10000().codes)
    assert rows[0]["verdict"] == "diagnosis"
    assert "found something else" in rows[6]["error"]


def test_table(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(folder), *flags, "--format", "table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[0].split() == ["image", "label", "confidence", "verdict", "then"]


@pytest.mark.parametrize("file_format", get_args(OutputFormat))
@pytest.mark.parametrize("verdict", ["not_sure", "not_a_lesion_image"])
def test_every_format_says_when_it_is_no_diagnosis(
    verdict: str, file_format: str, folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("edge_runtime.classifier.Classifier._verdict", lambda *_: (verdict, ("look again",)))
    assert main(["predict", str(folder / "lesion-0.jpg"), *flags, "--format", file_format]) == 0
    words = {"not_sure": "not sure", "not_a_lesion_image": "not a lesion image"}[verdict]
    found = capsys.readouterr().out
    assert verdict in found or words in found


def test_patterns_and_addresses(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pattern, nothing = str(folder / "lesion-[12].jpg"), str(folder / "*.gif")
    assert main(["predict", pattern, nothing, "https://example.org/a.jpg", *flags, "--json"]) == 1
    lines = {line["image"]: line for line in json_lines(capsys.readouterr().out)}
    assert lines[str(folder / "lesion-1.jpg")]["label"]
    assert lines[str(folder / "lesion-2.jpg")]["label"]
    assert lines[nothing]["error"].endswith("expected files matching this pattern, found none")
    assert "nothing is fetched from a network" in lines["https://example.org/a.jpg"]["error"]


def test_a_file_name_that_is_no_unicode(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsencode(folder) + b"/\xff\n.jpg"
    shutil.copy(os.fsencode(folder / "lesion-0.jpg"), odd)
    assert main(["predict", os.fsdecode(odd), *flags, "--json"]) == 0
    (line,) = json_lines(capsys.readouterr().out)
    assert os.fsencode(line["image"]) == odd
    assert main(["predict", os.fsdecode(odd), *flags]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_batches_give_the_same_predictions(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lesion-3.jpg").write_bytes(b"no image")
    found = []
    for batch in ("1", "4"):
        assert main(["predict", str(folder), *flags, "--json", "--batch", batch]) == 1
        found.append(json_lines(capsys.readouterr().out))
    assert [line["image"] for line in found[0]] == [line["image"] for line in found[1]]
    for one, four in zip(*found, strict=True):
        assert one.get("error") == four.get("error")
        if "error" not in one:
            assert one["probabilities"] == pytest.approx(four["probabilities"], abs=1e-5)


def test_every_output_says_how_many_views(folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", str(folder / "lesion-0.jpg"), *flags, "--views", "4"]
    assert main(command) == 0
    assert f"[{ENGINE} int8 4 views, " in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json_lines(capsys.readouterr().out)[0]["views"] == 4
    assert main([*command, "--format", "csv"]) == 0
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["views"] == "4"


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_resume_continues_after_a_torn_line(ending: str, folder: Path, flags: list[str], tmp_path: Path) -> None:
    output = tmp_path / f"results{ending}"
    command = ["predict", str(folder), *flags, "--output", str(output)]
    assert main(command) == 0
    whole = output.read_text()
    lines = whole.splitlines(keepends=True)
    kept = "".join(lines[:3])
    output.write_text(kept + lines[3][:20])
    with pytest.raises(DataError, match=r"results\.\w+: exists already; continue it with --resume, or remove it"):
        main(command)
    assert main([*command, "--resume"]) == 0
    resumed = output.read_text()
    assert resumed.startswith(kept)

    def names(text: str) -> list[str]:
        if ending == ".jsonl":
            return [line["image"] for line in json_lines(text)]
        return [row["image"] for row in csv.DictReader(io.StringIO(text))]

    assert names(resumed) == names(whole)
    assert main([*command, "--resume"]) == 0
    assert output.read_text() == resumed


def test_heat_maps_of_one_name_keep_their_files_when_resumed(flags: list[str], tmp_path: Path) -> None:
    images = tmp_path / "images"
    for number, name in enumerate(("a/image.jpg", "b/image.jpg", "c/IMAGE.jpg", "d/image.jpg")):
        (images / name).parent.mkdir(parents=True)
        blob_image(300, 250, number).save(images / name)
    (images / "b" / "image.jpg").write_bytes(b"not an image")
    output, maps = tmp_path / "results.jsonl", tmp_path / "maps"
    command = ["predict", str(images), *flags, "--output", str(output), "--explain", str(maps)]
    assert main(command) == 1
    whole = {path.name: path.read_bytes() for path in maps.iterdir()}
    assert set(whole) == {"image.png", "IMAGE-2.png", "image-3.png"}
    assert len(set(whole.values())) == 3
    lines = output.read_text().splitlines(keepends=True)
    for kept in range(len(lines)):
        output.write_text("".join(lines[:kept]) + lines[kept][:10])
        main([*command, "--resume"])
        assert {path.name: path.read_bytes() for path in maps.iterdir()} == whole


def test_resume_refuses_another_variant_and_other_files(folder: Path, flags: list[str], tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    command = ["predict", str(folder), *flags, "--output", str(output), "--resume"]
    assert main(command) == 0
    with pytest.raises(DataError, match=rf"was begun with {ENGINE} int8, but this run uses {ENGINE} fp32"):
        main([*command, "--precision", "fp32"])
    with pytest.raises(DataError, match=rf"was begun with {ENGINE} int8, but this run uses {ENGINE} int8 4 views"):
        main([*command, "--views", "4"])
    output.write_text("something else\n")
    with pytest.raises(DataError, match="expected predictions of this program, found something else"):
        main(command)
    with pytest.raises(DataError, match=r"expected a name ending in \.jsonl"):
        main([*command, "--output", str(tmp_path / "results.xlsx")])
    with pytest.raises(SystemExit):
        main(["predict", str(folder), *flags, "--resume"])


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command line beside the test; whatever happens there, no process and no pipe is left."""
    command = [sys.executable, "-m", "edge_runtime", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_sigterm_loses_no_finished_line(folder: Path, flags: list[str], tmp_path: Path) -> None:
    for number in range(400):
        os.link(folder / "lesion-0.jpg", folder / f"more-{number:03}.jpg")
    output = tmp_path / "results.jsonl"
    with started("predict", folder, *flags, "--output", output, "--threads", "2") as process:
        wait_until(lambda: output.exists() and output.read_text().count("\n") >= 3)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143
    text = output.read_text()
    assert text.endswith("\n")
    predicted = len(json_lines(text))
    assert 3 <= predicted < 406
    assert f"{predicted} predicted" in errors
    assert main(["predict", str(folder), *flags, "--output", str(output), "--resume"]) == 0
    names = [line["image"] for line in json_lines(output.read_text())]
    assert len(names) == len(set(names)) == 406


@pytest.mark.slow
def test_memory_does_not_grow_with_the_folder(folder: Path, flags: list[str], tmp_path: Path) -> None:
    """Four hundred images of 0.8 MB once decoded take no more memory than forty."""
    peaks = []
    for number in range(400):
        os.link(folder / "lesion-5.jpg", folder / f"more-{number:03}.jpg")
        if number in (40, 399):
            command = ["predict", str(folder), *flags, "--output", str(tmp_path / f"{number}.jsonl"), "--threads", "2"]
            peaks.append(peak_mebibytes(command))
    assert len((tmp_path / "399.jsonl").read_text().splitlines()) == 406
    assert peaks[1] - peaks[0] < 12


def peak_mebibytes(arguments: list[str]) -> float:
    """Return the peak of a command's memory; a small process starts it, since a parent's counts as its child's."""
    command = [sys.executable, "-S", "-E", "-c", LAUNCHER, sys.executable, "-m", "edge_runtime", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return float(finished.stdout.split()[1])


def wait_until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_explain(folder: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "why.png"
    command = ["explain", str(folder / "lesion-1.jpg"), *flags, "--output", str(output)]
    assert main([*command, "--class", "mel", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["explained_class"] == "mel"
    assert len(document["class_activation_map"]) == 7
    sizes = {}
    for style in ("side-by-side", "overlay", "heat"):
        assert main([*command, "--style", style]) == 0
        with Image.open(output) as image:
            sizes[style] = (image.size, image.mode)
    assert sizes == {
        "side-by-side": ((448, 224), "RGB"), "overlay": ((224, 224), "RGB"), "heat": ((224, 224), "RGBA"),
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "why.png"]
    with pytest.raises(DataError, match=r"nowhere/why\.png: cannot be written: No such file or directory"):
        main(["explain", str(folder / "lesion-1.jpg"), *flags, "--output", str(tmp_path / "nowhere/why.png")])


def test_verify(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--bundle", str(tiny_bundle), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verified"]
    assert {name for name, problem in found["variants"].items() if problem is None} == {
        f"{engine}-{precision}" for engine in installed_engines() for precision in ("int8", "fp32")
    }
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (copy / "model.fp32.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx: expected \d+ bytes, found 5"):
        main(["verify", "--bundle", str(copy)])


def test_watch_classifies_each_image_once_and_across_restarts(
    folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["watch", str(folder), *flags, "--once", "--interval", "0.01"]
    results = folder / "dermedge-results.jsonl"
    assert main(command) == 0
    assert len(json_lines(capsys.readouterr().out)) == 6
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    shutil.copy(folder / "lesion-1.jpg", folder / "new.jpg")
    (folder / "empty.jpg").touch()
    (folder / "lesion-2.jpg").write_bytes(b"no image any more")
    assert main(command) == 0
    lines = {Path(line["image"]).name: line for line in json_lines(capsys.readouterr().out)}
    assert set(lines) == {"new.jpg", "lesion-2.jpg"}
    assert "error" in lines["lesion-2.jpg"]
    assert len(results.read_text().splitlines()) == 8


def test_watch_ends_with_status_zero_when_asked_to_stop(folder: Path, flags: list[str]) -> None:
    results = folder / "dermedge-results.jsonl"
    with started("watch", folder, *flags, "--interval", "0.2") as process:
        wait_until(lambda: results.exists() and results.read_text().count("\n") == 6)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_watch_waits_for_a_file_that_is_still_written(
    folder: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the file arrives between two polls."""
    data = (folder / "lesion-0.jpg").read_bytes()
    tenths = [data[part * len(data) // 10 : (part + 1) * len(data) // 10] for part in range(10)]

    def wait(interruption: Interruption, _seconds: float) -> None:
        if tenths:
            with (folder / "slow.jpg").open("ab") as file:
                file.write(tenths.pop(0))
        elif "slow.jpg" in (folder / "dermedge-results.jsonl").read_text():
            interruption.request(signal.SIGTERM)

    monkeypatch.setattr(Interruption, "wait", wait)
    assert main(["watch", str(folder), *flags]) == 0
    lines = json_lines((folder / "dermedge-results.jsonl").read_text())
    (line,) = [line for line in lines if line["image"].endswith("slow.jpg")]
    assert "label" in line


def test_watch_passes_over_what_other_programs_keep_and_says_so_once(
    folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "@eaDir").mkdir()
    shutil.copy(folder / "lesion-1.jpg", folder / "@eaDir" / "thumbnail.jpg")
    shutil.copy(folder / "lesion-1.jpg", folder / "arriving.jpg.part")
    shutil.copy(folder / "lesion-1.jpg", folder / "no-suffix")
    (folder / "gone.jpg").symlink_to(folder / "nothing")
    assert main(["watch", str(folder), *flags, "--once", "--interval", "0.01"]) == 1
    captured = capsys.readouterr()
    names = {Path(line["image"]).name for line in json_lines(captured.out)}
    assert names == {*(f"lesion-{number}.jpg" for number in range(6)), "no-suffix"}
    assert captured.err.count(f"{folder / '@eaDir'}") == 1
    assert captured.err.count("arriving.jpg.part") == 1
    assert captured.err.count(f"error: {folder / 'gone.jpg'}: is a link whose target does not exist") == 1


def test_watch_does_not_repeat_a_folder_that_was_away(
    folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that cannot be read for a while: its images are still done when it is back."""
    (folder / "share").mkdir()
    shutil.copy(folder / "lesion-1.jpg", folder / "share" / "a.jpg")
    scandir, polls = os.scandir, []

    def unreliable(path: Any) -> Any:
        if str(path) == str(folder / "share") and len(polls) in (2, 3):
            raise OSError(5, "Input/output error", str(path))
        return scandir(path)

    def wait(interruption: Interruption, _seconds: float) -> None:
        polls.append(1)
        if len(polls) == 6:
            interruption.request(signal.SIGTERM)

    monkeypatch.setattr(os, "scandir", unreliable)
    monkeypatch.setattr(Interruption, "wait", wait)
    assert main(["watch", str(folder), *flags]) == 0
    captured = capsys.readouterr()
    assert len(json_lines(captured.out)) == 7
    assert captured.err.count(f"error: {folder / 'share'}: cannot be read: Input/output error") == 1


def test_an_engines_error_is_that_images_error(
    folder: Path, flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = edge_runtime.classifier.calibrated_probabilities
    calls: list[int] = []

    def once_not_finite(logits: Any) -> Any:
        calls.append(1)
        return real(logits * float("nan") if len(calls) == 3 else logits)

    monkeypatch.setattr(edge_runtime.classifier, "calibrated_probabilities", once_not_finite)
    assert main(["predict", str(folder), *flags, "--json", "--threads", "1"]) == 1
    lines = json_lines(capsys.readouterr().out)
    error = "the engine returned logits that are not finite"
    assert [line.get("error") for line in lines] == [None, None, error, None, None, None]


def test_watch_needs_a_folder(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(DataError, match="expected a folder to watch, found none"):
        main(["watch", str(tmp_path / "nowhere"), *flags])


def test_camera_with_a_folder(
    folder: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "now.png"
    assert main(["camera", str(folder), *flags, "--json", "--overlay", str(overlay), "--frames", "4"]) == 0
    captured = capsys.readouterr()
    lines = json_lines(captured.out)
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["frames_per_second"] is None
    assert lines[3]["frames_per_second"] > 0
    assert "4 frames classified" in captured.err
    with Image.open(overlay) as image:
        assert image.size == (448, 224)


def test_camera_with_a_video(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed here")
    import numpy as np

    path = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for seed in range(3):
        video.write(np.ascontiguousarray(np.asarray(blob_image(320, 240, seed))[..., ::-1]))
    video.release()
    assert main(["camera", str(path), *flags, "--json"]) == 0
    lines = json_lines(capsys.readouterr().out)
    assert len(lines) == 3
    image = tmp_path / "first.png"
    blob_image(320, 240, 0).save(image)
    assert main(["predict", str(image), *flags, "--json"]) == 0
    (still,) = json_lines(capsys.readouterr().out)
    assert lines[0]["probabilities"] == pytest.approx(still["probabilities"], abs=0.02)


def test_camera_without_a_source(flags: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected picamera, a camera's number, a device, a video file or a folder"):
        main(["camera", str(tmp_path / "nothing"), *flags])
    with pytest.raises(ImageError, match="expected images in this folder, found none"):
        main(["camera", str(tmp_path), *flags])


def test_a_camera_that_is_pulled_out_is_an_error(
    flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no camera here: this one gives two images and no more."""
    pytest.importorskip("cv2", reason="OpenCV is not installed here")
    import numpy as np

    frames = [np.asarray(blob_image(320, 240, seed)) for seed in range(2)]

    class TwoFrames:
        def __init__(self, source: int) -> None:
            assert source == 0

        def set(self, *_: object) -> None: ...
        def release(self) -> None: ...

        def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
            return True

        def read(self) -> tuple[bool, Any]:
            return (True, frames.pop()) if frames else (False, None)

    monkeypatch.setattr("cv2.VideoCapture", TwoFrames)
    monkeypatch.setattr("edge_runtime.io.frames.PATIENCE_SECONDS", 0.2)
    with pytest.raises(ImageError, match=r"^0: the camera has given no image for 0\.2 seconds$"):
        main(["camera", "0", *flags, "--json"])
    assert len(json_lines(capsys.readouterr().out)) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_its_shell_accepts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_commands_flags_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("bash"):
        pytest.skip("bash is not here")
    main(["completion", "bash"])
    script = capsys.readouterr().out

    def complete(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in words)
        call = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _dermedge; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        code = f"{script}\n{call}"
        finished = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return set(finished.stdout.split())

    assert complete("dermedge", "p") == {"predict"}
    assert complete("dermedge", "predict", "--pre") == {"--precision"}
    assert complete("dermedge", "predict", "--engine", "") == set(ENGINE_CHOICES)
