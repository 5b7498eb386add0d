"""Losses against torch's own and against their definitions; class weights and balanced drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from train.augmentation.mixing import soft_targets
from train.configuration import TrainingConfiguration
from train.data.class_balance import class_weights
from train.data.dataset import epoch_batches
from train.learning.losses import make_loss

LABELS = np.repeat(np.arange(7), [40, 20, 10, 5, 10, 100, 4])
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(32, 7, generator=GENERATOR)
TRUTH = torch.randint(7, (32,), generator=GENERATOR)
CPU = torch.device("cpu")


def loss_of(smoothing: float = 0.0, **options: object) -> torch.Tensor:
    configuration = TrainingConfiguration(**options)  # type: ignore[arg-type]
    return make_loss(configuration, LABELS, 7, CPU)(LOGITS, soft_targets(TRUTH, smoothing, 7))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    expected = functional.cross_entropy(LOGITS, TRUTH, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(loss_of(smoothing, loss="cross-entropy"), expected, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torchs(smoothing: float) -> None:
    weights = torch.tensor(class_weights(LABELS, 1.0, 7), dtype=torch.float32)
    expected = functional.cross_entropy(LOGITS, TRUTH, weights, reduction="none", label_smoothing=smoothing)
    result = loss_of(smoothing, loss="weighted-cross-entropy", class_weight_power=1.0)
    assert torch.allclose(result, expected, atol=1e-6)


def test_focal_by_its_definition() -> None:
    probability = functional.softmax(LOGITS, dim=1)[torch.arange(32), TRUTH]
    expected = -((1 - probability) ** 2) * probability.log()
    assert torch.allclose(loss_of(loss="focal", class_weight_power=0.0), expected, atol=1e-5)


def test_focal_without_focus_is_cross_entropy() -> None:
    focal = loss_of(loss="focal", class_weight_power=0.0, focal_gamma=0.0)
    assert torch.allclose(focal, loss_of(loss="cross-entropy"), atol=1e-6)


def test_logit_adjustment_by_its_definition() -> None:
    prior = torch.tensor(np.bincount(LABELS) / len(LABELS), dtype=torch.float32)
    expected = functional.cross_entropy(LOGITS + 1.5 * prior.log(), TRUTH, reduction="none")
    assert torch.allclose(loss_of(loss="logit-adjusted", logit_adjustment=1.5), expected, atol=1e-6)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_class_weights(power: float) -> None:
    weights, counts = class_weights(LABELS, power, 7), np.bincount(LABELS)
    assert weights[LABELS].mean() == pytest.approx(1.0)
    assert weights[6] / weights[5] == pytest.approx((counts[5] / counts[6]) ** power)


def test_absent_class_has_no_weight() -> None:
    weights = class_weights(np.array([0, 0, 1]), 1.0, 7)
    assert np.isfinite(weights).all()
    assert weights[2:].sum() == 0


def test_shuffled_epochs_visit_each_image_once() -> None:
    batches = epoch_batches(LABELS, 9, seed=0, epoch=0)
    visited = np.concatenate(batches)
    assert len(visited) == len(set(visited)) == len(LABELS) // 9 * 9
    assert not np.array_equal(visited, np.concatenate(epoch_batches(LABELS, 9, seed=0, epoch=1)))
    assert np.array_equal(visited, np.concatenate(epoch_batches(LABELS, 9, seed=0, epoch=0)))


def test_balanced_drawing_evens_out_the_classes() -> None:
    labels = np.repeat(np.arange(7), [4000, 2000, 1000, 500, 1000, 10000, 400])
    drawn = labels[np.concatenate(epoch_batches(labels, 32, 0, 0, balance_power=1.0))]
    shares = np.bincount(drawn) / len(drawn)
    assert np.abs(shares - 1 / 7).max() < 0.02


def test_fewer_images_than_a_batch() -> None:
    (batch,) = epoch_batches(np.zeros(5, dtype=np.int64), 32, 0, 0)
    assert sorted(batch) == [0, 1, 2, 3, 4]
