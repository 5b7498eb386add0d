"""The views are the symmetries of the square; the device averages their probabilities, and so does a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.bundle.classes import ham10000
from edge_runtime.engines import installed_engines
from edge_runtime.imaging.views import apply_symmetry
from edge_runtime.vocabulary import VIEW_COUNTS
from tests.conftest import REFERENCE_BUNDLE, blob_image
from train.evaluation.subject import BundleSubject, SubjectFacts
from train.evaluation.tta import AugmentedSubject
from train.metrics.temperature import apply_temperature

FACTS = SubjectFacts("made up", Path("nowhere"), 4, 1.0, False, "0" * 64, "none", "none", ham10000())


class CornerSubject:
    """Gives the brightness of the upper left pixel as the logit of the first class."""

    facts = FACTS

    def predict_logits(self, images, records):
        logits = np.zeros((len(images), 7))
        logits[:, 0] = images[:, 0, 0, 0] / 50
        return logits

    def explain(self, image_hwc, record, class_index):
        return image_hwc[..., 0].astype(np.float32)

    def outlier_scores(self, images):
        return None


def test_the_views_are_the_eight_symmetries():
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    views = {apply_symmetry(image, view).tobytes() for view in range(8)}
    assert len(views) == 8
    np.testing.assert_array_equal(apply_symmetry(image, 0), image)
    np.testing.assert_array_equal(apply_symmetry(image, 4)[0, :, :, 0], image[0, :, ::-1, 0])


def test_the_prediction_is_the_mean_probability_over_the_corners():
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    corners = image[0, [0, 0, 3, 3], [0, 3, 0, 3], 0]
    logits = np.zeros((4, 7))
    logits[:, 0] = corners / 50
    expected = apply_temperature(logits).mean(axis=0)
    predicted = apply_temperature(AugmentedSubject(CornerSubject(), 8).predict_logits(image, [None]))[0]
    np.testing.assert_allclose(predicted, expected, atol=1e-12)


def test_the_title_says_so_and_the_heat_map_is_that_of_the_image_itself():
    subject = AugmentedSubject(CornerSubject(), 8)
    assert subject.facts == dataclasses.replace(FACTS, title="made up, 8 views")
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(subject.explain(image, None, 0), image[..., 0])


@pytest.mark.parametrize("engine", installed_engines())
@pytest.mark.parametrize("views", VIEW_COUNTS)
def test_the_device_predicts_as_a_checkpoint_is_evaluated(engine, views):
    """Two ways to the same number: the device's own views, and views made around a device that knows one only."""
    images = np.stack([np.asarray(blob_image(seed=seed).resize((224, 224))) for seed in range(3)])
    single = BundleSubject(REFERENCE_BUNDLE, engine, "int8", 1)
    around = AugmentedSubject(single, views).predict_logits(images, [None] * 3)
    device = BundleSubject(REFERENCE_BUNDLE, engine, "int8", 1, views)
    np.testing.assert_allclose(
        apply_temperature(device.predict_logits(images, [None] * 3)), apply_temperature(around), atol=1e-9
    )
    moved = np.abs(apply_temperature(around) - apply_temperature(single.predict_logits(images, [None] * 3))).max()
    assert (moved > 1e-3) == (views > 1)  # the views differ, so the agreement means something
