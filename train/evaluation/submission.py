"""The prediction file of the ISIC 2018 challenge, task 3: upper-case columns in the challenge's own order.

Accepted by ``isic-challenge-scoring classification TRUTH.csv isic_submission.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import CLASS_CODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ISIC_COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_ORDER = [CLASS_CODES.index(column.lower()) for column in ISIC_COLUMNS]


def write_submission(path: Path, image_ids: Sequence[str], probabilities: NDArray[np.float64]) -> Path:
    """Write one row per image, probabilities (N, C) in class order; returns ``path``."""
    return _write(path, image_ids, probabilities[:, _ORDER].tolist())


def write_ground_truth(path: Path, image_ids: Sequence[str], truth: NDArray[np.int64]) -> Path:
    """Write the truth (N,) as the challenge does, one-hot, to score a submission against; returns ``path``."""
    return _write(path, image_ids, np.eye(len(CLASS_CODES))[truth][:, _ORDER].tolist())


def _write(path: Path, image_ids: Sequence[str], rows: list[list[float]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", *ISIC_COLUMNS))
        writer.writerows((image_id, *row) for image_id, row in zip(image_ids, rows, strict=True))
    return path
