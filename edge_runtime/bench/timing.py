"""What the modules of ``bench`` share: the test image, timing in turns, and the statistic of many timings."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

_WARM_UP_ROUNDS = 3


def synthetic_jpeg(width: int, height: int) -> bytes:
    """Return a JPEG of smooth blobs and fine noise, whose decoding costs about as much as a photograph's."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(60, 220, size=(9, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + generator.integers(-6, 7, size=smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def time_in_turns(calls: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """Call each once a round, in another order every round; return lower quartiles in milliseconds.

    Taking turns spreads other load on the machine over all calls; changing the order spreads what each leaves in the
    caches.
    """
    durations: dict[Any, list[float]] = {key: [] for key in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle  # noqa: S311 (the same orders in every run)
    for number in range(rounds + _WARM_UP_ROUNDS):
        shuffle(order)
        for key in order:
            started = perf_counter()
            calls[key]()
            if number >= _WARM_UP_ROUNDS:
                durations[key].append(1e3 * (perf_counter() - started))
    return {key: lower_quartile(values) for key, values in durations.items()}


def lower_quartile(values: list[float]) -> float:
    """Return the value that a quarter of the timings lie below: other programs only ever add time."""
    return sorted(values)[len(values) // 4]
