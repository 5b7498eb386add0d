"""The demo set has the layout, the gaps and the determinism that the rest of training is built and tested on."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError
from train.demo import dataset as phantoms
from train.demo.lesions import draw_lesion

LESIONS = 24


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return phantoms.write_demo_dataset(tmp_path_factory.mktemp("data") / "demo", LESIONS, seed=5)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "HAM10000_metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_layout_is_that_of_ham10000(demo):
    table = rows(demo)
    assert tuple(table[0]) == ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    files = {path.stem: path for path in demo.glob("HAM10000_images_part_[12]/*.jpg")}
    assert sorted(files) == sorted(row["image_id"] for row in table)
    assert {path.parent.name for path in files.values()} == {"HAM10000_images_part_1", "HAM10000_images_part_2"}
    assert {row["dx"] for row in table} == set(phantoms.CLASS_SHARES)
    with Image.open(files["ISIC_0000001"]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (600, 450), "RGB")
        assert image.info["comment"] == phantoms.JPEG_COMMENT


def test_some_lesions_have_several_images_that_differ(demo):
    by_lesion: dict[str, list[str]] = {}
    for row in rows(demo):
        by_lesion.setdefault(row["lesion_id"], []).append(row["image_id"])
    assert len(by_lesion) == LESIONS
    several = next(ids for ids in by_lesion.values() if len(ids) > 1)
    first, second = (np.asarray(Image.open(next(demo.glob(f"*/{name}.jpg")))).astype(float) for name in several[:2])
    assert np.abs(first - second).mean() > 5


def test_the_folder_says_that_it_is_a_demo(demo):
    assert "no patients" in (demo / phantoms.DEMO_MARKER).read_text()


def test_a_large_set_has_missing_values():
    drawn = [phantoms.draw_patient("nv", np.random.default_rng(seed)) for seed in range(400)]
    assert 0 < sum(patient.age == "" for patient in drawn) < 40
    assert 0 < sum(patient.sex == "unknown" for patient in drawn) < 40
    assert 0 < sum(patient.site == "unknown" for patient in drawn) < 60
    assert all(patient.age == "" or 0 < float(patient.age) <= 85 for patient in drawn)


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(demo, tmp_path):
    again = phantoms.write_demo_dataset(tmp_path / "again", LESIONS, seed=5, workers=1)
    for path in [*demo.glob("*/*.jpg"), demo / "HAM10000_metadata.csv"]:
        assert path.read_bytes() == (again / path.relative_to(demo)).read_bytes(), path.name


def test_another_seed_gives_other_images():
    assert phantoms.draw_phantom("mel", 0).tobytes() != phantoms.draw_phantom("mel", 1).tobytes()


def test_the_same_set_is_not_drawn_twice_and_another_replaces_it(tmp_path):
    folder = phantoms.write_demo_dataset(tmp_path / "demo", 7, seed=1)
    image = next(folder.glob("*/*.jpg"))
    before = image.stat().st_mtime_ns
    phantoms.write_demo_dataset(folder, 7, seed=1)
    assert image.stat().st_mtime_ns == before
    phantoms.write_demo_dataset(folder, 8, seed=1)
    assert len({row["lesion_id"] for row in rows(folder)}) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="expected an empty or a demo folder"):
        phantoms.write_demo_dataset(tmp_path, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_too_few_lesions_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least 7 lesions"):
        phantoms.write_demo_dataset(tmp_path / "demo", 6)


@pytest.mark.parametrize("code", phantoms.CLASS_SHARES)
def test_every_lesion_stays_on_its_canvas(code):
    maps = draw_lesion(code, np.random.default_rng(2))
    stacked = np.stack([maps.melanin, maps.blood, maps.white, maps.blue])
    assert np.isfinite(stacked).all()
    assert stacked.max() > 0.2
    assert np.abs(stacked[:, [0, -1], :]).max() < 0.02
    assert np.abs(stacked[:, :, [0, -1]]).max() < 0.02


def test_the_command_writes_the_set_and_says_so(tmp_path, run_environment):
    command = [sys.executable, "-m", "train.demo.dataset", "--output", str(tmp_path / "demo"), "--lesions", "7"]
    done = subprocess.run(command, env=run_environment, capture_output=True, text=True, check=True)
    assert "7 lesions, 7 classes (demo phantoms)" in done.stdout
    assert done.stderr == ""
