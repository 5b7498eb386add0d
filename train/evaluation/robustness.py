"""How much metrics degrade on corrupted images: every corruption at every severity on a sample of the images."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from tqdm import tqdm

from train.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from train.evaluation.data import EvaluationData
from train.evaluation.subject import Subject
from train.metrics.classification import summary_metrics
from train.metrics.temperature import apply_temperature

NAMES = ("accuracy", "balanced_accuracy", "expected_calibration_error")


def measure_robustness(subject: Subject, data: EvaluationData, images: int, seed: int = 0) -> dict[str, Any]:
    """Return metrics per corruption and severity on at most ``images`` images, sampled evenly over the classes."""
    sample = data.select(balanced_sample(data.truth, images, seed))
    images_nhwc = sample.images[:]
    clean = _metrics(subject, sample, images_nhwc)
    rows: list[dict[str, Any]] = []
    with tqdm(
        total=len(CORRUPTIONS) * len(SEVERITIES), desc="corrupting", unit="run", leave=False, disable=None
    ) as bar:
        for name in CORRUPTIONS:
            severities = []
            for severity in SEVERITIES:
                # zlib.crc32 and not hash(), which differs from one process to the next
                generator = np.random.default_rng([seed, zlib.crc32(name.encode()), severity])
                corrupted = np.stack([corrupt(name, image, severity, generator) for image in images_nhwc])
                severities.append({"severity": severity, **_metrics(subject, sample, corrupted)})
                bar.update()
            rows.append({"name": name, "severities": severities, "mean": _mean(severities)})
    return {
        "images": len(sample.records),
        "clean": clean,
        "rows": rows,
        "mean": _mean([row["mean"] for row in rows]),
    }


def balanced_sample(truth: np.ndarray[Any, np.dtype[np.int64]], count: int, seed: int) -> list[int]:
    """Return at most ``count`` positions, sorted, taking the classes in turn so that rare ones are all included."""
    generator = np.random.default_rng(seed)
    queues = [generator.permutation(np.flatnonzero(truth == label)).tolist() for label in np.unique(truth)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(truth)):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return sorted(chosen)


def _metrics(subject: Subject, sample: EvaluationData, images: Any) -> dict[str, float]:
    probabilities = apply_temperature(subject.predict_logits(images, sample.records))
    metrics = summary_metrics(sample.truth, probabilities)
    return {name: metrics[name] for name in NAMES}


def _mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in NAMES}
