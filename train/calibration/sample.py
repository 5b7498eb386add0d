"""The images that a calibration is fitted on, and what a checkpoint's network computes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from train.augmentation.batch import augment
from train.augmentation.strengths import find_preset
from train.data.records import LesionRecord, encode_records
from train.evaluation.data import SelectedImages
from train.model.architectures import LesionModel, normalise
from train.model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFT_PRESET = "strong"
"""The augmentation that stands for other cameras: light, colour, framing and sharpness."""

_BATCH = 32


@dataclass(frozen=True)
class Sample:
    """Images uint8 (N, size, size, 3) with their records, in the same order."""

    images: SelectedImages | NDArray[np.uint8]
    records: Sequence[LesionRecord]

    @property
    def truth(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return np.array([record.label for record in self.records], dtype=np.int64)


def shifted_sample(sample: Sample, seed: int) -> Sample:
    """Return the same images as other cameras might have taken them: one random augmentation of each."""
    generator = torch.Generator().manual_seed(seed)
    preset = find_preset(SHIFT_PRESET)
    changed = []
    for start in range(0, len(sample.records), _BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(sample.images[start : start + _BATCH]))
        augmented = augment(batch, batch.shape[1], preset, generator)
        changed.append((augmented * 255.0).round_().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return Sample(np.concatenate(changed), sample.records)


def pooled_and_logits(
    model: LesionModel, checkpoint: Checkpoint, sample: Sample, what: str
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return pooled features float32 (N, C) and uncalibrated logits float64 (N, classes) of a sample.

    ``what`` labels the progress bar.
    """
    spec = checkpoint.metadata_spec
    features, logits = [], []
    with tqdm(total=len(sample.records), desc=what, unit="image", leave=False, disable=None) as bar:
        for start in range(0, len(sample.records), _BATCH):
            chunk = slice(start, start + _BATCH)
            metadata = None if spec is None else torch.from_numpy(encode_records(sample.records[chunk], spec))
            batch = normalise(torch.from_numpy(sample.images[chunk]))
            with torch.inference_mode():
                feature_map = model.features(batch.contiguous(memory_format=torch.channels_last))
                logits.append(model.head(feature_map, metadata).double().numpy())
                features.append(feature_map.mean(dim=(2, 3)).numpy())
            bar.update(len(features[-1]))
    return np.concatenate(features), np.concatenate(logits)


def evenly_spaced(positions: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` of the positions, from the first to the last."""
    if len(positions) <= count:
        return list(positions)
    return [positions[index] for index in np.linspace(0, len(positions) - 1, count).round().astype(int)]
