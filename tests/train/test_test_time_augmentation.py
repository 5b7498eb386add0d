"""The eight views are the symmetries of the square, and their answers are averaged as probabilities."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from train.calibration import apply_temperature
from train.subject import SubjectFacts
from train.test_time_augmentation import VIEWS, AugmentedSubject, turned

FACTS = SubjectFacts("made up", Path("nowhere"), 4, 1.0, False, "0" * 64, "none", "none")


class CornerSubject:
    """Answers with the brightness of the upper left pixel as the logit of the first class."""

    facts = FACTS

    def answer(self, pictures, records):
        logits = np.zeros((len(pictures), 7))
        logits[:, 0] = pictures[:, 0, 0, 0] / 50
        return logits

    def explain(self, picture_hwc, record, class_index):
        return picture_hwc[..., 0].astype(np.float32)

    def outlier_scores(self, pictures):
        return None


def test_the_views_are_the_eight_symmetries():
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    views = {turned(picture, view).tobytes() for view in range(VIEWS)}
    assert len(views) == 8
    np.testing.assert_array_equal(turned(picture, 0), picture)
    np.testing.assert_array_equal(turned(picture, 4)[0, :, :, 0], picture[0, :, ::-1, 0])


def test_the_answer_is_the_mean_probability_over_the_corners():
    picture = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    corners = picture[0, [0, 0, 3, 3], [0, 3, 0, 3], 0]
    logits = np.zeros((4, 7))
    logits[:, 0] = corners / 50
    expected = apply_temperature(logits).mean(axis=0)
    answered = apply_temperature(AugmentedSubject(CornerSubject()).answer(picture, [None]))[0]
    np.testing.assert_allclose(answered, expected, atol=1e-12)


def test_the_title_says_so_and_the_map_is_the_upright_one():
    subject = AugmentedSubject(CornerSubject())
    assert subject.facts == dataclasses.replace(FACTS, title="made up, 8 views")
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(subject.explain(picture, None, 0), picture[..., 0])
