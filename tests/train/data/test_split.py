"""The split never puts a lesion on two sides, is stratified, reproducible, and reads back as it was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import DataError
from train.data.folder import load_records
from train.data.records import LesionRecord
from train.data.split import Split, check_split, group_records, make_folds, make_split, read_split, write_split


def record(number: int, lesion: str, label: int = 0, subset: str | None = None) -> LesionRecord:
    return LesionRecord(f"ISIC_{number:05d}", Path("none.jpg"), lesion, label, subset=subset)


RECORDS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=1, max_size=120).map(
    lambda pairs: [record(number, f"HAM_{lesion}", label) for number, (lesion, label) in enumerate(pairs)]
)


def sides_of_lesions(split: Split, records: list[LesionRecord]) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for one in records:
        sides.setdefault(one.lesion_id, set()).add(split.subsets[one.image_id])
    return sides


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(0, 5), st.floats(0.05, 0.4), st.floats(0, 0.4))
def test_no_lesion_on_two_sides(records: list[LesionRecord], seed: int, validation: float, test: float) -> None:
    split = make_split(records, seed, validation, test)
    assert set(split.subsets) == {one.image_id for one in records}
    assert all(len(sides) == 1 for sides in sides_of_lesions(split, records).values())
    check_split(split, records, "split")


@settings(max_examples=30, deadline=None)
@given(RECORDS, st.integers(2, 6))
def test_folds_share_the_test_part_and_rotate_the_rest(records: list[LesionRecord], folds: int) -> None:
    splits = make_folds(records, folds, seed=3, test_fraction=0.2)
    reference = make_split(records, 3, 0.2, 0.2)
    in_test = {image_id for image_id, subset in reference.subsets.items() if subset == "test"}
    validated: Counter[str] = Counter()
    for split in splits:
        assert all(len(sides) == 1 for sides in sides_of_lesions(split, records).values())
        assert {image_id for image_id, subset in split.subsets.items() if subset == "test"} == in_test
        validated.update(image_id for image_id, subset in split.subsets.items() if subset == "validation")
    assert validated == Counter({one.image_id: 1 for one in records if one.image_id not in in_test})


def test_every_class_is_shared_out_in_proportion() -> None:
    counts = (18, 26, 58, 7, 49, 432, 8)
    records = [
        record(1000 * label + number, f"L{label}-{number}", label)
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    split = make_split(records, 0, 0.15, 0.15)
    for label, count in enumerate(counts):
        subsets = Counter(split.subsets[one.image_id] for one in records if one.label == label)
        assert abs(subsets["validation"] - 0.15 * count) <= 1
        assert abs(subsets["test"] - 0.15 * count) <= 1


def test_near_duplicates_stay_together_also_in_chains() -> None:
    records = [record(number, f"L{number}") for number in range(40)]
    same = [("ISIC_00001", "ISIC_00017"), ("ISIC_00017", "ISIC_00033"), ("ISIC_00002", "unknown")]
    for seed in range(10):
        subsets = make_split(records, seed, 0.3, 0.3, same=same).subsets
        assert subsets["ISIC_00001"] == subsets["ISIC_00017"] == subsets["ISIC_00033"]
    assert [1, 17, 33] in group_records(records, same).values()


def test_official_parts_are_kept() -> None:
    records = [record(number, f"L{number}", subset="train") for number in range(20)]
    records += [record(100 + number, f"T{number}", subset="test") for number in range(5)]
    split = make_split(records, 0, 0.2, 0.15)
    assert Counter(split.subsets.values()) == {"train": 16, "validation": 4, "test": 5}
    records += [record(200, "V", subset="validation")]
    assert Counter(make_split(records).subsets.values()) == {"train": 20, "validation": 1, "test": 5}


def test_a_seed_gives_the_same_split_whatever_the_order() -> None:
    records = [record(number, f"L{number // 2}", number % 7) for number in range(100)]
    assert make_split(records, 4).hash == make_split(records, 4).hash
    assert make_split(records, 4).hash != make_split(records, 5).hash


def test_written_split_reads_back(tmp_path: Path) -> None:
    split = make_split([record(number, f"L{number}", number % 7) for number in range(60)])
    path = write_split(split, tmp_path / "split.csv")
    assert path.read_text().startswith("image_id,subset\nISIC_00000,")
    assert read_split(path) == split
    assert read_split(path).hash == split.hash


def test_a_split_whose_column_is_called_part_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("image_id,part\nA,train\nB,test\n")
    assert read_split(path) == Split({"A": "train", "B": "test"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image_id,subset\nA,train\nB,tset\n",
            r"split\.csv, line 3: expected subset train, validation, test, found 'tset'",
        ),
        ("image_id,subset\nA,train\nA,test\n", r"split\.csv, line 3: duplicate image id 'A'"),
        ("image,subset\nA,train\n", r"split\.csv: missing column 'image_id', found image, subset"),
        ("", r"split\.csv: missing column 'image_id', found an empty file"),
    ],
)
def test_bad_split_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(path)


def test_split_of_other_data_is_refused() -> None:
    records = [record(0, "L0"), record(1, "L0"), record(2, "L2")]
    with pytest.raises(DataError, match=r"mine: does not list image 'ISIC_00002'"):
        check_split(Split({"ISIC_00000": "train", "ISIC_00001": "train"}), records, "mine")
    with pytest.raises(DataError, match=r"mine: lesion 'L0' is in two subsets"):
        check_split(Split({"ISIC_00000": "train", "ISIC_00001": "test", "ISIC_00002": "train"}), records, "mine")


@pytest.mark.real_data
def test_real_data_splits_in_proportion(real_data: Path) -> None:
    records = load_records(real_data)
    split = make_split(records)
    subsets = Counter(split.subsets.values())
    table = (real_data / "HAM10000_metadata.csv").read_text(encoding="utf-8")
    images = len(table.splitlines()) - 1
    assert sum(subsets.values()) == images
    assert abs(subsets["test"] - 0.15 * images) < len(ham10000().codes)
    assert abs(subsets["validation"] - 0.15 * images) < len(ham10000().codes)
