"""The images an export needs: some of the training subset to quantise with, the validation subset to check graphs on.

No validation or test image ever chooses anything here: int8 ranges come from the calibration images and the choice
of int8 recipe from the selection images, both taken from the training subset.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import load_image_hwc
from train.data.records import LesionRecord, encode_records
from train.data.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImages:
    """Images as the graphs take them, uint8 [N,S,S,3], and their classes' indices, int64 [N]."""

    records: tuple[LesionRecord, ...]
    images: NDArray[np.uint8]
    truth: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.records)

    def patient_vectors(self, specification: PatientMetadataSpec | None) -> NDArray[np.float32] | None:
        """Return the patients' metadata, float32 [N,M], or ``None`` for a model that takes none."""
        return None if specification is None else encode_records(self.records, specification)


def choose_calibration(
    records: Sequence[LesionRecord], split: Split, calibration: int, selection: int
) -> tuple[list[LesionRecord], list[LesionRecord]]:
    """Return training records for calibration and for selection, both as evenly over the classes as can be.

    The same records and split give the same choice. Raises :class:`DataError` when the training subset has fewer than
    two classes: ranges measured on one class clip the values of the others.
    """
    training = [record for record in records if split.subsets.get(record.image_id) == "train"]
    if not training:
        raise DataError("calibration: expected images in the training set of the split, found none")
    if len({record.label for record in training}) < 2:
        raise DataError("calibration: expected training images of several classes, found only those of one class")
    order = _class_by_class(training)
    # Alternating, so that a class with few images is represented on both sides.
    alternating = order[: 2 * min(calibration, selection)]
    rest = order[len(alternating) :]
    chosen = alternating[::2] + (rest[: calibration - selection] if calibration > selection else [])
    selected = alternating[1::2] + (rest[: selection - calibration] if selection > calibration else [])
    return chosen, selected


def choose_validation(records: Sequence[LesionRecord], split: Split, limit: int | None) -> list[LesionRecord]:
    """Return the validation records, ``limit`` of them evenly over the classes if given."""
    validation = [record for record in records if split.subsets.get(record.image_id) == "validation"]
    if not validation:
        raise DataError("validation: expected images in the validation set of the split, found none")
    return validation if limit is None else _class_by_class(validation)[:limit]


def load_images(records: Sequence[LesionRecord], size: int, purpose: str) -> LabelledImages:
    """Decode and resize the records' images with the function that the device uses."""
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(lambda record: load_image_hwc(record.path, size), records)
        progress = tqdm(decoded, total=len(records), desc=f"reading {purpose}", disable=not sys.stderr.isatty())
        images = np.stack(list(progress)) if records else np.zeros((0, size, size, 3), np.uint8)
    return LabelledImages(tuple(records), images, np.array([record.label for record in records], np.int64))


def _class_by_class(records: Sequence[LesionRecord]) -> list[LesionRecord]:
    """Return all records in a fixed random order that takes one of each class in turn, while they last."""
    shuffled = [records[index] for index in np.random.default_rng(0).permutation(len(records))]
    by_class: dict[int, list[LesionRecord]] = {}
    for record in shuffled:
        by_class.setdefault(record.label, []).append(record)
    turns = [(turn, label, record) for label, members in by_class.items() for turn, record in enumerate(members)]
    return [record for _, _, record in sorted(turns, key=lambda item: item[:2])]
