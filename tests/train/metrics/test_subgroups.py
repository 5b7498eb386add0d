"""Every image is in exactly one group of each attribute, and a group's metrics are those of its images alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.bundle.classes import ham10000
from train.data.records import LesionRecord
from train.metrics.classification import summary_metrics
from train.metrics.subgroups import subgroup_table
from train.metrics.temperature import apply_temperature


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 7, 120)
    logits = generator.normal(size=(120, 7))
    logits[np.arange(120), truth] += 1.5
    records = tuple(
        LesionRecord(
            image_id=f"ISIC_{number}",
            path=Path("none"),
            lesion_id=f"HAM_{number // 2}",
            label=int(truth[number]),
            age=None if number % 10 == 0 else float(5 * (number % 18)),
            sex=("male", "female", None)[number % 3],
            site=("back", "face")[number % 2],
        )
        for number in range(120)
    )
    return records, truth, apply_temperature(logits)


def test_every_image_is_counted_once_per_attribute(case):
    table = subgroup_table(*case, ham10000(), replicates=10)
    for attribute in ("sex", "age", "site"):
        assert sum(row.images for row in table if row.attribute == attribute) == 120
        assert sum(row.malignant for row in table if row.attribute == attribute) == np.isin(case[1], [0, 1, 4]).sum()


def test_a_group_has_the_metrics_of_its_own_images(case):
    records, truth, probabilities = case
    row = next(row for row in subgroup_table(*case, ham10000(), replicates=10) if row.value == "female")
    members = np.array([record.sex == "female" for record in records])
    expected = summary_metrics(truth[members], probabilities[members])
    assert row.accuracy.value == pytest.approx(expected["accuracy"], abs=1e-9)
    assert row.balanced_accuracy.value == pytest.approx(expected["balanced_accuracy"], abs=1e-9)
    malignant = np.isin(truth, [0, 1, 4]) & members
    predicted = np.isin(probabilities.argmax(axis=1), [0, 1, 4])
    assert row.malignancy_sensitivity == pytest.approx(predicted[malignant].mean())


def test_unknown_comes_last_and_ages_in_order(case):
    table = subgroup_table(*case, ham10000(), replicates=10)
    ages = [row.value for row in table if row.attribute == "age"]
    assert ages == ["under 30", "30–44", "45–59", "60–74", "75 and over", "unknown"]
    assert [row.value for row in table if row.attribute == "sex"][-1] == "unknown"


@pytest.mark.parametrize(
    ("age", "band"),
    [(None, None), (0.0, "under 30"), (29.9, "under 30"), (30.0, "30–44"), (74.9, "60–74"), (85.0, "75 and over")],
)
def test_bands_hold_their_lower_bound(age, band):
    assert LesionRecord("ISIC_1", Path("none"), "HAM_1", 5, age).age_band == band
