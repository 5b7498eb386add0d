"""The outlier score is a Mahalanobis distance, tells outliers apart, keeps its promised rate, and travels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from edge_runtime.errors import DataError
from train.evaluation.non_lesions import other_images
from train.model.architectures import build_model
from train.model.outlier_score import (
    HeadWithOutlierScore,
    OutlierScore,
    fit_outlier_score,
    outlier_threshold,
    separation,
)

CHANNELS = 24


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Correlated features of 3,000 made-up training images."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(CHANNELS, CHANNELS)) * np.geomspace(9, 0.4, CHANNELS)
    return generator.normal(size=(3000, CHANNELS)) @ mixing.T + 5


def scores_of(score: OutlierScore, pooled: np.ndarray) -> np.ndarray:
    return score.from_pooled(torch.from_numpy(pooled.astype(np.float32))).numpy()


def test_with_all_directions_it_is_the_mahalanobis_distance(features):
    score = fit_outlier_score(features, components=CHANNELS - 1)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = LedoitWolf().fit(unit).mahalanobis(unit[:200]) / CHANNELS
    np.testing.assert_allclose(scores_of(score, features[:200]), expected, rtol=1e-3)


def test_images_like_those_learned_from_score_about_one(features):
    score = fit_outlier_score(features, components=8)
    assert scores_of(score, features).mean() == pytest.approx(1, abs=0.1)
    assert scores_of(score, features).min() >= 0


def test_it_sees_what_no_single_feature_shows():
    """A point inside every feature's range, but off the plane that the features lie in."""
    generator = np.random.default_rng(3)
    plane = np.linalg.qr(generator.normal(size=(CHANNELS, 5)))[0]
    learned = 20 + 3 * generator.normal(size=(2000, 5)) @ plane.T + 0.1 * generator.normal(size=(2000, CHANNELS))
    away = generator.normal(size=CHANNELS)
    away -= plane @ (plane.T @ away)
    odd = 20 + 1.5 * away / np.linalg.norm(away)
    assert ((learned.min(axis=0) < odd) & (odd < learned.max(axis=0))).all()
    score = fit_outlier_score(learned, components=5)
    assert scores_of(score, odd[None])[0] > 2 * scores_of(score, learned).max()


def test_brightness_of_the_features_does_not_matter(features):
    score = fit_outlier_score(features)
    np.testing.assert_allclose(scores_of(score, 3 * features[:50]), scores_of(score, features[:50]), rtol=1e-3)


def test_the_threshold_keeps_its_rate(features):
    scores = scores_of(fit_outlier_score(features), features)
    for rate in (0.0, 0.01, 0.05):
        limit = outlier_threshold(scores, rate)
        assert (scores > limit).mean() <= rate
        assert (scores >= limit).mean() >= rate


def test_separation_is_the_area_under_the_curve():
    assert separation(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1
    assert separation(np.array([0.0, 2.0]), np.array([1.0, 3.0])) == 0.75


def test_the_exported_head_answers_as_before_and_adds_the_score(features):
    torch.manual_seed(0)
    model = build_model("resnet18", classes=7).eval()
    feature_map = torch.rand(3, 512, 2, 2)
    score = fit_outlier_score(np.random.default_rng(1).normal(size=(80, 512)))
    with torch.no_grad():
        outputs = HeadWithOutlierScore(model.head, score)(feature_map)
        torch.testing.assert_close(outputs["logits"], model.head(feature_map))
        torch.testing.assert_close(outputs["outlier_score"], score.from_pooled(feature_map.mean(dim=(2, 3))))
    assert outputs["outlier_score"].shape == (3,)


def test_a_score_survives_its_state_dict(features):
    score = fit_outlier_score(features)
    again = OutlierScore(**score.state_dict())
    np.testing.assert_array_equal(scores_of(score, features), scores_of(again, features))


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match="2 images or more"):
        fit_outlier_score(np.zeros((1, 4)))


def test_other_images_are_of_the_asked_size_and_repeatable():
    lesions = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    first, second = (other_images(32, lesions) for _ in range(2))
    assert {"everyday photos", "text", "noise", "blank", "ruined lesions"} <= set(first)
    for kind, images in first.items():
        assert images.shape[1:] == (32, 32, 3), kind
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, second[kind])
    assert len(first["ruined lesions"]) == 6
