"""Which range of each inner tensor the 256 levels of an int8 graph shall cover.

Both formats record the float graph's tensors on calibration images here and choose by the same rules, so that their
int8 graphs differ in nothing but the engine's rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Range = tuple[float, float]
"""Lowest and highest real value that the levels cover."""

SAMPLES_PER_IMAGE = 4096
LEVELS = 255


@dataclass
class TensorStatistics:
    """What was seen of one tensor: exact extremes, and evenly spaced values of every image."""

    minimum: float = np.inf
    maximum: float = -np.inf
    samples: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add one image's values, of any shape."""
        flat = values.reshape(-1)
        self.minimum = min(self.minimum, float(flat.min()))
        self.maximum = max(self.maximum, float(flat.max()))
        # A prime stride meets all channels and positions, where a round one would meet the same channel again.
        stride = _next_prime(max(1, flat.size // SAMPLES_PER_IMAGE))
        self.samples.append(flat[::stride].astype(np.float32, copy=True))


def choose_ranges(statistics: dict[str, TensorStatistics], calibrator: str) -> dict[str, Range]:
    """Return the range of every tensor after the named rule of :data:`CALIBRATORS`; each contains zero."""
    rule = CALIBRATORS[calibrator]
    return {name: _with_zero(rule(tensor)) for name, tensor in statistics.items()}


def min_max(tensor: TensorStatistics) -> Range:
    """Everything that was seen."""
    return tensor.minimum, tensor.maximum


def percentile(tensor: TensorStatistics, share: float = 0.9999) -> Range:
    """All but the outermost values: ``share`` of those seen lie below the upper end, and above the lower."""
    values = np.concatenate(tensor.samples)
    low, high = np.quantile(values, [1 - share, share])
    return float(low), float(high)


def mean_squared_error(tensor: TensorStatistics) -> Range:
    """The range with the least squared error of rounding and clipping together, by search."""
    values = _thinned(tensor)
    best, best_error = min_max(tensor), np.inf
    low, high = _with_zero(min_max(tensor))
    for low_share in _SHARES if low < 0 else (1.0,):
        for high_share in _SHARES:
            candidate = low * low_share, high * high_share
            error = float(np.square(_rounded(values, candidate) - values).mean())
            if error < best_error:
                best, best_error = candidate, error
    return best


def entropy(tensor: TensorStatistics) -> Range:
    """The range whose rounded histogram loses the least information (Migacz, GTC 2017); one factor for both ends."""
    values = _thinned(tensor)
    low, high = _with_zero(min_max(tensor))
    best, best_divergence = (low, high), np.inf
    for share in np.linspace(0.3, 1.0, 29):
        divergence = _divergence(values, (low * share, high * share))
        if divergence < best_divergence:
            best, best_divergence = (low * float(share), high * float(share)), divergence
    return best


CALIBRATORS: dict[str, Callable[[TensorStatistics], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}
"""The rules by the names that ``--calibrator`` takes."""

_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)
_THINNED_VALUES = 32_768
_HISTOGRAM_BINS = 2040  # eight bins a level


def _thinned(tensor: TensorStatistics) -> NDArray[np.float32]:
    values = np.concatenate(tensor.samples)
    thinned = values[:: _next_prime(max(1, values.size // _THINNED_VALUES))]
    # The extremes decide about clipping, so they are always there.
    return np.append(thinned, np.array([tensor.minimum, tensor.maximum], np.float32))


def _rounded(values: NDArray[np.float32], span: Range) -> NDArray[np.float32]:
    scale = max((span[1] - span[0]) / LEVELS, 1e-12)
    zero_point = np.round(-span[0] / scale)
    return ((np.clip(np.round(values / scale) + zero_point, 0, LEVELS) - zero_point) * scale).astype(np.float32)


def _divergence(values: NDArray[np.float32], span: Range) -> float:
    """Return the Kullback-Leibler divergence between the clipped histogram and its version in 255 levels."""
    low, high = span
    # Exact zeros, half of all values behind a ReLU, cost nothing in any range and would drown the rest.
    nonzero = values[values != 0]
    if nonzero.size == 0 or high <= low:
        return 0.0
    counts = np.histogram(nonzero, bins=_HISTOGRAM_BINS, range=(low, high))[0].astype(np.float64)
    reference = counts.copy()
    reference[0] += (nonzero < low).sum()
    reference[-1] += (nonzero > high).sum()
    grouped = counts.reshape(LEVELS, -1)
    occupied = grouped > 0
    share = grouped.sum(1, keepdims=True) / np.maximum(occupied.sum(1, keepdims=True), 1)
    quantised = (occupied * share).reshape(-1)
    reference, quantised = reference / reference.sum(), quantised / max(quantised.sum(), 1e-12)
    there = reference > 0
    return float((reference[there] * np.log(reference[there] / np.maximum(quantised[there], 1e-9))).sum())


def _with_zero(span: Range) -> Range:
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    return (low, high) if high > low else (low, low + 1e-6)


def _next_prime(number: int) -> int:
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number
