"""The cache holds exactly what the device's preprocessing gives, and is built anew when a source changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import load_image_hwc
from train.data.cache import open_cache
from train.data.duplicates import difference_hash, find_near_duplicates
from train.data.folder import load_records, read_data_folder
from train.data.prepare import same_pairs
from train.data.report import describe, report_data
from train.data.split import make_split

WriteTiny = Callable[..., Path]


def test_holds_what_the_device_sees(tiny_ham10000: Path, tmp_path: Path) -> None:
    records = load_records(tiny_ham10000)
    cache = open_cache(records, 40, tmp_path)
    assert cache.images.shape == (56, 40, 40, 3)
    assert isinstance(cache.images, np.memmap)
    for position in (0, 17, 55):
        assert np.array_equal(cache.images[position], load_image_hwc(records[position].path, 40))


def test_second_opening_decodes_nothing(tiny_ham10000: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = load_records(tiny_ham10000)
    first = open_cache(records, 32, tmp_path)
    monkeypatch.setattr("train.data.cache.load_image_hwc", None)
    assert open_cache(records, 32, tmp_path).fingerprint == first.fingerprint


def test_changed_source_or_size_builds_anew(tmp_path: Path, write_tiny: WriteTiny) -> None:
    folder = write_tiny(tmp_path / "data", per_class=1)
    records = load_records(folder)
    before = open_cache(records, 32, tmp_path / "cache")
    assert open_cache(records, 24, tmp_path / "cache").images.shape[1] == 24
    Image.new("RGB", (64, 48), (1, 2, 3)).save(records[0].path)
    os.utime(records[0].path, ns=(1, 1))
    after = open_cache(records, 32, tmp_path / "cache")
    assert np.abs(after.images[0, 0, 0].astype(int) - (1, 2, 3)).max() <= 2
    assert after.fingerprint != before.fingerprint


def test_other_content_of_the_same_size_and_time_builds_anew(tmp_path: Path, write_tiny: WriteTiny) -> None:
    folder = write_tiny(tmp_path / "data", per_class=1)
    records = load_records(folder)
    path = records[0].path
    Image.new("RGB", (64, 48), (10, 20, 30)).save(path, format="BMP")
    before, status = open_cache(records, 32, tmp_path / "cache"), path.stat()
    Image.new("RGB", (64, 48), (30, 20, 10)).save(path, format="BMP")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as programs do that copy times along
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert open_cache(records, 32, tmp_path / "cache").fingerprint != before.fingerprint


def test_unreadable_images_are_left_out_by_name(tmp_path: Path, write_tiny: WriteTiny) -> None:
    folder = write_tiny(tmp_path / "data", per_class=2)
    records = load_records(folder)
    records[3].path.write_bytes(b"not an image")
    records[5].path.write_bytes(b"")
    cache = open_cache(records, 32, tmp_path / "cache")
    assert len(cache.image_ids) == len(cache.images) == 12
    assert list(cache.unreadable) == [records[3].image_id, records[5].image_id]
    assert np.array_equal(cache.images[3], load_image_hwc(records[4].path, 32))
    text = describe(report_data(read_data_folder(folder), cache))
    assert f"unreadable: 2: {records[3].image_id} (" in text


def test_nothing_readable_writes_nothing(tmp_path: Path, write_tiny: WriteTiny) -> None:
    folder = write_tiny(tmp_path / "data", per_class=1)
    records = load_records(folder)
    for record in records:
        record.path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"none of 7 images can be read, the first because: .*expected one of JPEG"):
        open_cache(records, 32, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_damaged_cache_is_named(tiny_ham10000: Path, tmp_path: Path) -> None:
    records = load_records(tiny_ham10000)
    open_cache(records, 32, tmp_path)
    (array,) = tmp_path.glob("*.rgb")
    array.write_bytes(b"short")
    with pytest.raises(DataError, match=r"\.rgb: expected 172032 bytes; delete it to have it built anew"):
        open_cache(records, 32, tmp_path)


def test_duplicates_are_found_and_kept_on_one_side(tmp_path: Path, write_tiny: WriteTiny) -> None:
    folder = write_tiny(tmp_path / "data", per_class=6)
    records = load_records(folder)
    same, near, original = records[4].path, records[40].path, records[20].path
    same.write_bytes(original.read_bytes())
    with Image.open(original) as image:
        image.resize((200, 150)).save(near, quality=40)
    found = read_data_folder(folder)
    cache = open_cache(found.records, 64, tmp_path / "cache")
    report = report_data(found, cache)
    ids = [records[position].image_id for position in (4, 20, 40)]
    assert report.duplicates == ((ids[0], ids[1]),)
    assert (ids[1], ids[2]) in report.near_duplicates
    assert (ids[0], ids[1]) in report.conflicting, "the same image under two classes"
    for seed in range(5):
        subsets = make_split(found.records, seed, 0.3, 0.3, same=same_pairs(report)).subsets
        assert len({subsets[image_id] for image_id in ids}) == 1


def test_hash_survives_saving_again_but_not_another_image() -> None:
    generator = np.random.default_rng(0)
    hashes = []
    for _ in range(20):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((224, 224), Image.Resampling.BICUBIC)
        hashes.append(difference_hash(np.asarray(image)))
        smaller = image.resize((100, 100)).point(lambda value: 0.8 * value)
        hashes.append(difference_hash(np.asarray(smaller)))
    names = [f"{number // 2}{'ab'[number % 2]}" for number in range(40)]
    assert find_near_duplicates(names, hashes) == [(f"{number}a", f"{number}b") for number in range(20)]
