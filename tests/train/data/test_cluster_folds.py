"""Folds by clusters leave whole kinds of images out, and share the test set with the ordinary split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import DataError
from train.data.cluster_folds import colour_statistics, make_cluster_folds
from train.data.records import LesionRecord
from train.data.split import make_split

SITES = ("back", "face", "ear", None)


@pytest.fixture(scope="module")
def records() -> list[LesionRecord]:
    return [
        LesionRecord(f"I{number:03d}", Path("x"), f"L{number // 2}", number % 7, site=SITES[number // 2 % 4])
        for number in range(120)
    ]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three cameras: warm, cold and dark."""
    casts = np.array([[220, 150, 120], [150, 150, 180], [90, 60, 55]])
    generator = np.random.default_rng(0)
    camera = np.arange(120) // 2 % 3
    noise = generator.normal(0, 8, (120, 20, 20, 3))
    return (casts[camera][:, None, None] + noise).clip(0, 255).astype(np.uint8)


def test_colour_folds_find_the_cameras(records: list[LesionRecord], images: np.ndarray) -> None:
    splits = make_cluster_folds(records, images, "colour", 3, test_fraction=0.2)
    cameras = []
    for split in splits:
        validated = [number for number, one in enumerate(records) if split.subsets[one.image_id] == "validation"]
        cameras.append({number // 2 % 3 for number in validated})
    assert sorted(map(sorted, cameras)) == [[0], [1], [2]]


@pytest.mark.parametrize("kind", ["colour", "site"])
def test_test_part_and_lesions_are_kept(records: list[LesionRecord], images: np.ndarray, kind: str) -> None:
    expected = {name for name, subset in make_split(records, 0, 0.15, 0.2).subsets.items() if subset == "test"}
    for split in make_cluster_folds(records, images, kind, 3, test_fraction=0.2):
        assert {name for name, subset in split.subsets.items() if subset == "test"} == expected
        sides: dict[str, set[str]] = {}
        for one in records:
            sides.setdefault(one.lesion_id, set()).add(split.subsets[one.image_id])
        assert all(len(subsets) == 1 for subsets in sides.values())


def test_sites_stay_together(records: list[LesionRecord], images: np.ndarray) -> None:
    for split in make_cluster_folds(records, images, "site", 2, test_fraction=0.0):
        for site in SITES:
            assert len({split.subsets[one.image_id] for one in records if one.site == site}) == 1


def test_too_many_folds(records: list[LesionRecord], images: np.ndarray) -> None:
    with pytest.raises(DataError, match="--folds: expected at most 4 with --fold-by site, found 5"):
        make_cluster_folds(records, images, "site", 5)


def test_the_middle_does_not_count() -> None:
    image = np.full((1, 40, 40, 3), 150, dtype=np.uint8)
    changed = image.copy()
    changed[:, 10:30, 10:30] = 10
    assert np.array_equal(colour_statistics(image), colour_statistics(changed))
