"""Rounding of weights: within the pair limit, and better than nearest on the layer's inputs."""

from __future__ import annotations

import numpy as np
import pytest

from export.int8.layer_inputs import LayerInputs
from export.int8.weight_rounding import HIGHEST, round_weights
from tests.export.conftest import largest_pair


@pytest.mark.parametrize("compensate", [False, True])
def test_no_pair_of_weights_can_saturate(compensate: bool) -> None:
    generator = np.random.default_rng(2)
    weight = generator.normal(0, 1, (5, 6, 3, 3)).astype(np.float32)
    layer = LayerInputs(weight, 1, np.abs(generator.normal(0, 1, (1, 300, 54))).astype(np.float32))
    rounded = round_weights(layer, compensate=compensate, pair_limit=True)
    assert 255 * largest_pair(rounded.levels) < 2**15
    assert 2 * 255 * np.abs(rounded.levels.astype(int)).max() < 2**15, "nor can any two that are not neighbours"


def test_largest_pair_sees_both_orders() -> None:
    levels = np.zeros((1, 2, 1, 2), np.int8)
    levels[0, 0, 0, 0] = levels[0, 1, 0, 0] = 100  # neighbours over the channels only
    assert largest_pair(levels) == 200
    levels[0, 1, 0, 0], levels[0, 0, 0, 1] = 0, -100  # of opposite sign they do not add up
    levels[0, 0, 0, 0] = 100
    assert largest_pair(levels) == 100


@pytest.mark.parametrize("pair_limit", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_compensated_rounding_changes_the_layer_less(pair_limit: bool, groups: int) -> None:
    generator = np.random.default_rng(3)
    weight = generator.normal(0, 0.1, (8, 12 // groups, 3, 3)).astype(np.float32)
    size = weight[0].size
    mixing = generator.normal(0, 1, (groups, size, size))
    patches = np.maximum(generator.normal(0.3, 1, (groups, 2000, size)) @ mixing, 0).astype(np.float32)
    layer = LayerInputs(weight, len(patches), patches)

    def output_error(compensate: bool) -> float:
        rounded = round_weights(layer, compensate=compensate, pair_limit=pair_limit)
        change = (rounded.values - weight).reshape(groups, 8 // groups, size)
        shift = rounded.bias_change.reshape(groups, 1, 8 // groups)
        return float(np.square(np.einsum("gps,gos->gpo", patches, change) + shift).mean())

    assert output_error(compensate=True) < 0.8 * output_error(compensate=False)


def test_bias_change_keeps_the_mean_output() -> None:
    generator = np.random.default_rng(4)
    weight = generator.normal(0, 1, (3, 4, 1, 1)).astype(np.float32)
    patches = np.abs(generator.normal(2, 1, (1, 500, 4))).astype(np.float32)
    layer = LayerInputs(weight, len(patches), patches)
    rounded = round_weights(layer, compensate=False, pair_limit=False)
    change = (rounded.values - weight).reshape(3, 4)
    np.testing.assert_allclose((patches[0] @ change.T + rounded.bias_change).mean(0), 0, atol=1e-6)


def test_without_pair_limit_the_scale_can_be_found_again() -> None:
    generator = np.random.default_rng(5)
    weight = generator.normal(0, 1, (6, 4, 3, 3)).astype(np.float32)
    layer = LayerInputs(weight, 1, np.eye(36, dtype=np.float32)[np.newaxis])
    rounded = round_weights(layer, compensate=True, pair_limit=False)
    assert (np.abs(rounded.levels.reshape(6, -1).astype(int)).max(1) == HIGHEST).all()
    largest = np.abs(rounded.values.reshape(6, -1)).max(1)
    np.testing.assert_allclose(largest / HIGHEST, rounded.scales, rtol=1e-6)
