"""Float weights → 8-bit integers, so that a layer's answers change least and no processor's arithmetic overflows.

Rounding each weight to its nearest level is not the best that can be done: the error of one weight can be made up for
by the next ones. :func:`round_weights` does that after Frantar et al., Optimal Brain Compression (NeurIPS 2022), the
method known as GPTQ, for which the layer's inputs on calibration pictures are enough.

``pair_limit``: x86 processors without VNNI multiply unsigned activations with signed weights by ``vpmaddubsw``, which
adds two neighbouring products in 16 bits and saturates. With neighbouring weights a, b of which the same-signed sum is
at most 128, the worst sum is 255 · 128 = 32,640 < 32,768, so nothing saturates whatever the picture. Neighbours are
weights in positions 2i, 2i+1 of the order in which the kernel walks: over channels first (NHWC) or over the window
first (NCHW); both orders are kept within the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from export.layer_inputs import LayerInputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGHEST = 127
PAIR_LIMIT = 128

LEAST_SHARE = 1e-3
"""The finest scale of a channel is at least this share of its layer's coarsest."""

_SCALE_SHARES = (1.0, 0.82, 0.66)
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
    scales = choose_scales(weight, pair_limit=pair_limit)
    matrix = weight.reshape(groups, outputs // groups, -1)
    grid = scales.reshape(groups, outputs // groups, 1)
    if compensate:
        rounded = [_compensated(matrix[group], grid[group], *layer.moment_factors[group]) for group in range(groups)]
        levels = np.stack(rounded)
    else:
        levels = np.clip(np.round(matrix / grid), -HIGHEST, HIGHEST)
    shaped = levels.astype(np.int8).reshape(weight.shape)
    shaped = limit_pairs(shaped) if pair_limit else _with_full_range(shaped, weight)
    error = shaped.astype(np.float64).reshape(matrix.shape) * grid - matrix
    change = -np.einsum("gok,gk->go", error, layer.mean).reshape(-1)
    return RoundedWeights(shaped, scales, change)


def round_layers(layers: dict[str, LayerInputs], *, compensate: bool, pair_limit: bool) -> dict[str, RoundedWeights]:
    """Round every layer; see :func:`round_weights`."""
    return {name: round_weights(layer, compensate=compensate, pair_limit=pair_limit) for name, layer in layers.items()}


def choose_scales(weight: NDArray[np.float32], *, pair_limit: bool) -> NDArray[np.float32]:
    """Return one scale per output channel: the largest weight at level 127, or coarser where pairs would be clipped.

    Coarser levels cost rounding error, clipped pairs cost clipping error; the scale with the least sum is taken.
    """
    matrix = weight.reshape(len(weight), -1)
    largest = np.abs(matrix).max(axis=1)
    if not pair_limit:
        return (np.maximum(largest, 1e-9) / HIGHEST).astype(np.float32)
    # A bias is an int32 of the scale times the input's: a channel with hardly any weights must not make it overflow.
    finest = np.maximum(largest, max(LEAST_SHARE * largest.max(), 1e-9)) / HIGHEST
    best, best_error = finest, np.full(len(weight), np.inf)
    for share in _SCALE_SHARES:
        scales = finest / share
        levels = np.round(weight / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
        values = _limit_once(levels.astype(np.int16)).reshape(matrix.shape) * scales[:, np.newaxis]
        error = np.square(values - matrix).sum(axis=1)
        better = error < best_error
        best, best_error = np.where(better, scales, best), np.where(better, error, best_error)
    return best.astype(np.float32)


def limit_pairs(levels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return levels [O,I,kh,kw] in which no two neighbours of one sign add up to more than 128, in either order."""
    limited = levels.astype(np.int16)
    while True:
        before, limited = limited, _limit_once(limited)
        if np.array_equal(before, limited):
            return np.ascontiguousarray(limited.astype(np.int8))


def largest_pair(levels: NDArray[np.int8]) -> int:
    """Return the largest same-signed sum of two neighbours of [O,I,kh,kw] in either order."""
    sums = []
    for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
        pairs = _pairs(levels.astype(np.int16).transpose(order).reshape(len(levels), -1))
        sums += [int(np.maximum(pairs, 0).sum(-1).max()), int(-np.minimum(pairs, 0).sum(-1).min())]
    return max(sums)


def _limit_once(levels: NDArray[np.int16]) -> NDArray[np.int16]:
    limited = _limit_last_axis(levels.reshape(len(levels), -1)).reshape(levels.shape)
    by_channel = limited.transpose(0, 2, 3, 1)
    by_channel = _limit_last_axis(by_channel.reshape(len(levels), -1)).reshape(by_channel.shape)
    return by_channel.transpose(0, 3, 1, 2)


def _pairs(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    padded = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    return padded.reshape(len(rows), -1, 2)


def _limit_last_axis(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    pairs = _pairs(rows)
    same_sign = np.sign(pairs[..., 0]) * np.sign(pairs[..., 1]) > 0
    excess = np.where(same_sign, np.abs(pairs).sum(-1) - PAIR_LIMIT, 0).clip(min=0)
    reduction = np.stack([(excess + 1) // 2, excess // 2], axis=-1)
    # A weight smaller than its half of the excess gives all it has, the other one the rest.
    short = (reduction - np.abs(pairs)).clip(min=0)
    reduction = reduction - short + short[..., ::-1]
    return (pairs - np.sign(pairs) * reduction).reshape(len(rows), -1)[:, : rows.shape[1]]


def _with_full_range(levels: NDArray[np.int8], weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Put each channel's largest weight at ±127, where it is by definition: quantisers find the scale by it."""
    rows = levels.reshape(len(levels), -1).copy()
    flat = weight.reshape(len(weight), -1)
    largest = np.abs(flat).argmax(axis=1)
    channels = np.arange(len(rows))
    rows[channels, largest] = (HIGHEST * np.where(flat[channels, largest] < 0, -1, 1)).astype(np.int8)
    return rows.reshape(levels.shape)


def _compensated(
    matrix: NDArray[np.float32], grid: NDArray[np.float32], order: NDArray[np.int64], upper: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the levels of [O,K] rounded column by column, each error made up for by the columns after it."""
    weights, scales = matrix[:, order].copy(), grid[:, 0]
    levels = np.zeros_like(weights)
    columns = weights.shape[1]
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        errors = np.zeros((len(weights), stop - start), np.float32)
        for column in range(start, stop):
            levels[:, column] = np.clip(np.round(weights[:, column] / scales), -HIGHEST, HIGHEST)
            error = (weights[:, column] - levels[:, column] * scales) / upper[column, column]
            errors[:, column - start] = error
            weights[:, column + 1 : stop] -= np.outer(error, upper[column, column + 1 : stop])
        weights[:, stop:] -= errors @ upper[start:stop, stop:]
    result = np.empty_like(levels)
    result[:, order] = levels
    return result
