"""A resumed run takes over only what still holds: bundle, settings and the image's file are those of the line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_runtime.bundle.manifest import PatientMetadataSpec, read_manifest, write_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.errors import DataError
from tests.conftest import TINY_BUNDLE, blob_image, encoded

ENGINE = ["--engine", installed_engines()[0]]
FLAGS = ["--bundle", str(TINY_BUNDLE), *ENGINE]
SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".csv"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images that a test may change."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate("abc"):
        blob_image(300, 250, number).save(folder / f"{name}.jpg")
    return folder


def other_bundle(folder: Path, **changes: Any) -> Path:
    """Return a copy of the tiny bundle whose manifest differs."""
    shutil.copytree(TINY_BUNDLE, folder)
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), **changes))
    return folder


def rows(output: Path) -> list[dict[str, Any]]:
    text = output.read_text()
    if output.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


@SUFFIXES
def test_another_bundle_is_refused(suffix: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / f"results{suffix}"
    command = ["predict", str(folder), *ENGINE, "--output", str(output), "--resume", "--bundle"]
    assert main([*command, str(TINY_BUNDLE)]) == 0
    before = output.read_bytes()
    other = other_bundle(tmp_path / "other", name="other")
    stated = [read_manifest(bundle).manifest_sha256[:16] for bundle in (TINY_BUNDLE, other)]
    expected = f"results{suffix}: was begun with bundle {stated[0]}, but this run uses bundle {stated[1]}"
    with pytest.raises(DataError, match=rf"{expected}$"):
        main([*command, str(other)])
    assert output.read_bytes() == before
    assert {row["bundle"] for row in rows(output)} == {stated[0]}


@SUFFIXES
def test_other_patient_data_are_refused(
    suffix: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "_patient_input", lambda *_: {})  # the tiny network has no such input
    specification = PatientMetadataSpec(age_scale_years=100.0, sexes=["female", "male"], sites=["back", "ear"])
    bundle = other_bundle(tmp_path / "with-patient", patient_metadata=specification)
    output = tmp_path / f"results{suffix}"
    command = ["predict", str(folder), *ENGINE, "--bundle", str(bundle), "--output", str(output), "--resume"]
    patient = ["--age", "50", "--sex", "male"]
    assert main([*command, *patient]) == 0
    whole = output.read_bytes()
    assert main([*command, "--age", "50.0", "--sex", "Male ", "--site", "unknown"]) == 0  # the same in other words
    assert output.read_bytes() == whole
    with pytest.raises(DataError, match=r"was begun with age 50\.0, sex male, but this run uses no patient's data$"):
        main(command)
    with pytest.raises(DataError, match=r"was begun with age 50\.0, sex male, but .* age 51\.0, sex male, site ear$"):
        main([*command, "--age", "51", "--sex", "male", "--site", "ear"])


@SUFFIXES
def test_other_heat_maps_are_refused(suffix: str, folder: Path, tmp_path: Path) -> None:
    output, maps = tmp_path / f"results{suffix}", tmp_path / "maps"
    command = ["predict", str(folder), *FLAGS, "--output", str(output), "--resume"]
    assert main([*command, "--explain", str(maps)]) == 0
    with pytest.raises(DataError, match=rf"was begun with heat maps in {maps}, but this run uses no heat maps$"):
        main(command)
    with pytest.raises(DataError, match=rf"was begun with heat maps in {maps}, but this run uses heat maps in .*more$"):
        main([*command, "--explain", str(tmp_path / "more")])
    output.unlink()
    assert main(command) == 0
    with pytest.raises(DataError, match=rf"was begun with no heat maps, but this run uses heat maps in {maps}$"):
        main([*command, "--explain", str(maps)])


@SUFFIXES
def test_a_heat_map_that_is_gone_is_made_again(suffix: str, folder: Path, tmp_path: Path) -> None:
    for name in ("line\nbreak.jpg", os.fsdecode(b"\xff.jpg")):
        shutil.copy(folder / "a.jpg", folder / name)
    output, maps = tmp_path / f"results{suffix}", tmp_path / "maps"
    command = ["predict", str(folder), *FLAGS, "--output", str(output), "--explain", str(maps), "--resume"]
    assert main(command) == 0
    whole = {path.name: path.read_bytes() for path in maps.iterdir()}
    assert len(whole) == 5
    (maps / "b.png").unlink()
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in maps.iterdir()} == whole
    assert [Path(row["image"]).name for row in rows(output)][5:] == ["b.jpg"]


@SUFFIXES
def test_an_image_whose_file_has_changed_is_classified_again(
    suffix: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, maps = tmp_path / f"results{suffix}", tmp_path / "maps"
    command = ["predict", str(folder), *FLAGS, "--output", str(output), "--explain", str(maps), "--resume"]
    assert main(command) == 0
    blob_image(320, 250, 9).save(folder / "b.jpg")
    assert main(command) == 0
    assert "1 predicted, 0 unusable, 2 already done" in capsys.readouterr().err
    found = rows(output)
    assert [Path(row["image"]).name for row in found] == ["a.jpg", "b.jpg", "c.jpg", "b.jpg"]
    assert main(["predict", str(folder / "b.jpg"), *FLAGS, "--explain", str(tmp_path / "alone"), "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    last = found[3] if suffix == ".csv" else found[3]["probabilities"]
    assert {code: float(last[code]) for code in alone["probabilities"]} == alone["probabilities"]
    assert sorted(path.name for path in maps.iterdir()) == ["a.png", "b.png", "c.png"]
    assert (maps / "b.png").read_bytes() == (tmp_path / "alone" / "b.png").read_bytes()
    state = (folder / "c.jpg").stat()
    data = bytearray((folder / "c.jpg").read_bytes())
    data[-3] ^= 1
    (folder / "c.jpg").write_bytes(data)  # as copying tools do: other content, size and time as before
    os.utime(folder / "c.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert main(command) == 0
    assert [Path(row["image"]).name for row in rows(output)][4:] == ["c.jpg"]
    whole = output.read_bytes()
    assert main(command) == 0  # the last line counts
    assert output.read_bytes() == whole


@SUFFIXES
def test_an_error_is_tried_again_and_said_once(suffix: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / f"results{suffix}"
    (folder / "b.jpg").write_bytes(b"no image")
    command = ["predict", str(folder), *FLAGS, "--output", str(output), "--resume"]
    assert main(command) == 1
    whole = output.read_bytes()
    assert main(command) == 1  # it is still no image
    assert output.read_bytes() == whole
    blob_image(300, 250, 1).save(folder / "b.jpg")
    assert main(command) == 0
    assert [bool(row.get("error")) for row in rows(output)] == [False, True, False, False]


def test_standard_input_is_another_image_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "results.jsonl"
    for seed in (1, 2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encoded(blob_image(300, 250, seed)))))
        assert main(["predict", "-", *FLAGS, "--output", str(output), "--resume"]) == 0
    first, second = rows(output)
    assert first["image"] == second["image"] == "-"
    assert first["probabilities"] != second["probabilities"]


def test_lines_of_an_earlier_version_are_refused(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    command = ["predict", str(folder), *FLAGS, "--resume", "--output"]
    assert main([*command, str(output)]) == 0
    earlier = [{key: row[key] for key in row if key != "bundle"} for row in rows(output)]
    output.write_text("".join(json.dumps(row) + "\n" for row in earlier))
    with pytest.raises(DataError, match="was begun with a bundle that its lines do not name, but this run uses bundle"):
        main([*command, str(output)])
    table = tmp_path / "results.csv"
    assert main([*command, str(table)]) == 0
    table.write_text(table.read_text().splitlines()[0].partition(",bundle")[0] + "\n")
    with pytest.raises(DataError, match=r"results\.csv: expected a column bundle, found a table of an earlier version"):
        main([*command, str(table)])


def test_lines_on_standard_output_keep_their_fields(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(folder / "a.jpg"), *FLAGS, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "image", "label", "probabilities", "verdict", "engine", "precision", "timing_ms", "warnings",
    }  # fmt: skip
    assert main(["predict", str(folder / "a.jpg"), *FLAGS, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(",warnings,error")


def test_watch_classifies_again_for_another_bundle(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["watch", str(folder), *ENGINE, "--once", "--interval", "0.01", "--bundle"]
    output = folder / "dermedge-results.jsonl"
    other = str(other_bundle(tmp_path / "other", name="other"))
    assert main([*command, str(TINY_BUNDLE)]) == 0
    assert main([*command, other]) == 0
    captured = capsys.readouterr()
    assert f"{output}: 3 predictions are of another bundle or of other settings" in captured.err
    found = rows(output)
    assert [row["bundle"] for row in found[::3]] == [
        read_manifest(Path(bundle)).manifest_sha256[:16] for bundle in (TINY_BUNDLE, other)
    ]
    assert len(found) == 6
    assert main([*command, other]) == 0
    assert main([*command, other, "--views", "4"]) == 0
    assert len(rows(output)) == 9
    assert "9 predictions" not in capsys.readouterr().err


def test_watch_tries_an_error_again_after_a_restart_and_says_it_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b.jpg").write_bytes(b"no image")
    command = ["watch", str(folder), *FLAGS, "--once", "--interval", "0.01"]
    output = folder / "dermedge-results.jsonl"
    assert main(command) == 0
    whole = output.read_bytes()
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert output.read_bytes() == whole
