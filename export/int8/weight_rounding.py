"""Float weights → 8-bit integers, so that a layer's output changes least and no CPU's sums overflow.

Rounding each weight to its nearest level is not the best that can be done: the error of one weight can be made up for
by the next ones. :func:`round_weights` does that after Frantar et al., Optimal Brain Compression (NeurIPS 2022), the
method known as GPTQ, for which the layer's inputs on calibration images are enough.

``pair_limit``: x86 CPUs without VNNI multiply unsigned activations with signed weights by ``vpmaddubsw``, which
adds two neighbouring products in 16 bits and saturates. With levels of -64..64 the worst sum is 2 · 255 · 64 = 32,640,
below 32,768, so nothing saturates whatever the image and whatever two weights are neighbours. (Keeping all 8 bits
and clipping only the pairs that are too large was tried and is worse: on ResNet18's layers it made four to five times
the error of nearest 8-bit levels, against four times for 7-bit levels and less than twice with compensation.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from export.int8.layer_inputs import LayerInputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGHEST = 127
HIGHEST_IN_PAIRS = 64

LEAST_SHARE = 1e-3
"""The finest scale of a channel is at least this share of its layer's coarsest."""

_BLOCK = 128


@dataclass(frozen=True)
class RoundedWeights:
    """``levels`` int8 of the weights' shape [O,I/G,kh,kw]; ``scales`` float32 [O]; ``bias_change`` float64 [O]."""

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias_change: NDArray[np.float64]

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights that the levels stand for."""
        return self.levels.astype(np.float32) * self.scales.reshape(-1, *[1] * (self.levels.ndim - 1))


def round_weights(layer: LayerInputs, *, compensate: bool, pair_limit: bool) -> RoundedWeights:
    """Round a layer's weights.

    ``compensate`` spreads rounding errors over later weights; without it every weight goes to its nearest level.
    ``bias_change`` is what to add to the bias so that the layer's mean output stays.
    """
    weight, groups = layer.weight, layer.groups
    outputs = len(weight)
    highest = HIGHEST_IN_PAIRS if pair_limit else HIGHEST
    scales = choose_scales(weight, highest)
    matrix = weight.reshape(groups, outputs // groups, -1)
    grid = scales.reshape(groups, outputs // groups, 1)
    if compensate:
        rounded = [
            _compensated(matrix[group], grid[group], *layer.moment_factors[group], highest) for group in range(groups)
        ]
        levels = np.stack(rounded)
    else:
        levels = np.clip(np.round(matrix / grid), -highest, highest)
    shaped = levels.astype(np.int8).reshape(weight.shape)
    if not pair_limit:
        shaped = _with_full_range(shaped, weight)
    error = shaped.astype(np.float64).reshape(matrix.shape) * grid - matrix
    change = -np.einsum("gok,gk->go", error, layer.mean).reshape(-1)
    return RoundedWeights(shaped, scales, change)


def round_layers(layers: dict[str, LayerInputs], *, compensate: bool, pair_limit: bool) -> dict[str, RoundedWeights]:
    """Round every layer; see :func:`round_weights`."""
    return {name: round_weights(layer, compensate=compensate, pair_limit=pair_limit) for name, layer in layers.items()}


def choose_scales(weight: NDArray[np.float32], highest: int) -> NDArray[np.float32]:
    """Return one scale per output channel, which puts its largest weight at level ``highest``."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    if highest == HIGHEST:  # quantisers find this scale again by themselves, so it must be theirs
        return (np.maximum(largest, 1e-9) / highest).astype(np.float32)
    # A bias is an int32 of the scale times the input's: a channel with hardly any weights must not make it overflow.
    return (np.maximum(largest, max(LEAST_SHARE * largest.max(), 1e-9)) / highest).astype(np.float32)


def _with_full_range(levels: NDArray[np.int8], weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Put each channel's largest weight at ±127, where it is by definition: quantisers find the scale by it."""
    rows = levels.reshape(len(levels), -1).copy()
    flat = weight.reshape(len(weight), -1)
    largest = np.abs(flat).argmax(axis=1)
    channels = np.arange(len(rows))
    rows[channels, largest] = (HIGHEST * np.where(flat[channels, largest] < 0, -1, 1)).astype(np.int8)
    return rows.reshape(levels.shape)


def _compensated(
    matrix: NDArray[np.float32],
    grid: NDArray[np.float32],
    order: NDArray[np.int64],
    upper: NDArray[np.float32],
    highest: int,
) -> NDArray[np.float32]:
    """Return the levels of [O,K] rounded column by column, each error made up for by the columns after it."""
    weights, scales = matrix[:, order].copy(), grid[:, 0]
    levels = np.zeros_like(weights)
    columns = weights.shape[1]
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        errors = np.zeros((len(weights), stop - start), np.float32)
        for column in range(start, stop):
            levels[:, column] = np.clip(np.round(weights[:, column] / scales), -highest, highest)
            error = (weights[:, column] - levels[:, column] * scales) / upper[column, column]
            errors[:, column - start] = error
            weights[:, column + 1 : stop] -= np.outer(error, upper[column, column + 1 : stop])
        weights[:, stop:] -= errors @ upper[start:stop, stop:]
    result = np.empty_like(levels)
    result[:, order] = levels
    return result
