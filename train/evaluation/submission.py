"""The prediction files of the ISIC challenges of 2018 (task 3) and 2019: upper-case columns in their own order.

Accepted by ``isic-challenge-scoring classification TRUTH.csv isic_submission.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import ClassSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

ISIC_2018_COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
ISIC_2019_COLUMNS = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")


def challenge_columns(classes: ClassSet) -> tuple[str, ...] | None:
    """Return the columns of the challenge that has exactly these classes, ``None`` where none has."""
    for columns in (ISIC_2018_COLUMNS, ISIC_2019_COLUMNS):
        if {column.lower() for column in columns} == {code.lower() for code in classes.codes}:
            return columns
    return None


def write_submission(
    path: Path, image_ids: Sequence[str], probabilities: NDArray[np.float64], classes: ClassSet
) -> Path | None:
    """Write one row per image, probabilities (N, C) in class order; returns ``path``, ``None`` for no challenge."""
    columns = challenge_columns(classes)
    if columns is None:
        return None
    codes = [code.lower() for code in classes.codes]
    order = [codes.index(column.lower()) for column in columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", *columns))
        rows = probabilities[:, order].tolist()
        writer.writerows((image_id, *row) for image_id, row in zip(image_ids, rows, strict=True))
    return path


def write_ground_truth(
    path: Path, image_ids: Sequence[str], truth: NDArray[np.int64], classes: ClassSet
) -> Path | None:
    """Write the truth (N,) as the challenge does, one-hot, to score a submission against; returns ``path``."""
    return write_submission(path, image_ids, np.eye(len(classes))[truth], classes)
