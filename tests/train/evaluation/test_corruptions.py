"""Corruptions keep shape and type, grow with severity, repeat from their seed, and refuse unknown names."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import DataError
from train.demo.dataset import draw_phantom
from train.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from train.evaluation.robustness import balanced_sample


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.asarray(draw_phantom("mel", 3).resize((96, 96)))


def damage(name: str, image: np.ndarray, severity: int) -> float:
    worse = corrupt(name, image, severity, np.random.default_rng(1)).astype(float)
    return float(np.abs(worse - image).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_type_and_seed(name, image):
    before = image.copy()
    worse = [corrupt(name, image, 3, np.random.default_rng(7)) for _ in range(2)]
    assert worse[0].shape == image.shape
    assert worse[0].dtype == np.uint8
    np.testing.assert_array_equal(worse[0], worse[1])
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"saturation", "motion blur", "colour cast"}))
def test_damage_grows_with_severity(name, image):
    steps = [damage(name, image, severity) for severity in SEVERITIES]
    assert steps[0] > 0
    assert steps == sorted(steps)


@pytest.mark.parametrize("name", ["saturation", "motion blur", "colour cast"])
def test_the_strongest_damage_exceeds_the_weakest(name, image):
    assert damage(name, image, 5) > damage(name, image, 1) > 0


@pytest.mark.parametrize("name", ["defocus blur", "motion blur", "zoom blur"])
def test_blur_leaves_an_even_image_even(name):
    even = np.full((64, 64, 3), 120, dtype=np.uint8)
    assert np.abs(corrupt(name, even, 5, np.random.default_rng(0)).astype(int) - 120).max() <= 1


def test_blur_keeps_the_centre_of_a_point_in_place():
    point = np.zeros((65, 65, 3), dtype=np.uint8)
    point[32, 32] = 255
    blurred = corrupt("defocus blur", point, 1, np.random.default_rng(0)).astype(float)[..., 0]
    rows, columns = np.indices(blurred.shape)
    assert (rows * blurred).sum() / blurred.sum() == pytest.approx(32, abs=0.1)
    assert (columns * blurred).sum() / blurred.sum() == pytest.approx(32, abs=0.1)


def test_unknown_names_and_severities_are_refused(image):
    with pytest.raises(DataError, match="found 'fog'"):
        corrupt("fog", image, 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="found 6"):
        corrupt("JPEG", image, 6, np.random.default_rng(0))


def test_a_small_sample_holds_every_class():
    truth = np.array([5] * 90 + [0, 1, 1, 2, 3, 4, 6])
    chosen = balanced_sample(truth, 14, seed=0)
    assert len(set(chosen)) == 14
    assert set(truth[chosen]) == set(range(7))
    assert (truth[chosen] == 1).sum() == 2
    assert balanced_sample(truth, 1000, seed=0) == list(range(len(truth)))
