"""Images from the cache as torch batches, and the order in which an epoch visits them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edge_runtime.bundle.manifest import PatientMetadataSpec
from train.data.cache import ImageCache
from train.data.class_balance import class_weights
from train.data.records import LesionRecord, encode_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

AGE_SCALE_YEARS = 100.0


class Batch(NamedTuple):
    """``images`` uint8 [N, H, W, 3], ``labels`` int64 [N], ``metadata`` float32 [N, M] or ``None``."""

    images: Tensor
    labels: Tensor
    metadata: Tensor | None


class LesionDataset(Dataset[Batch]):
    """The images at some positions of a cache. Items are batches of one; ``__getitems__`` fetches many at once."""

    def __init__(
        self,
        cache: ImageCache,
        records: Sequence[LesionRecord],
        indices: Sequence[int],
        metadata_spec: PatientMetadataSpec | None = None,
    ) -> None:
        self.images = cache.images
        self.positions = np.asarray(indices, dtype=np.int64)
        self.labels = np.asarray([records[index].label for index in indices], dtype=np.int64)
        self.metadata: NDArray[np.float32] | None = None
        if metadata_spec is not None:
            self.metadata = encode_records([records[index] for index in indices], metadata_spec)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        chosen = np.asarray(indices, dtype=np.int64)
        images = self.images[self.positions[chosen]]  # indexing with an array copies out of the mapped file
        metadata = None if self.metadata is None else torch.from_numpy(self.metadata[chosen])
        return Batch(torch.from_numpy(np.asarray(images)), torch.from_numpy(self.labels[chosen]), metadata)


def make_loader(dataset: LesionDataset, batches: Sequence[NDArray[np.int64]]) -> DataLoader[Batch]:
    """A loader that yields the given batches of positions in ``dataset``, one :class:`Batch` each.

    It works in this process: fetching from the mapped file costs about a millisecond, less than passing between
    processes would.
    """
    return DataLoader(dataset, batch_sampler=batches, collate_fn=_as_fetched)  # type: ignore[arg-type]


def epoch_batches(
    labels: NDArray[np.int64], batch_size: int, seed: int, epoch: int, balance_power: float | None = None
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: a pure function of seed and epoch, so a resumed run continues where it was.

    Without ``balance_power`` a shuffle of all images; with it, drawn with replacement by inverse frequency to that
    power. Images beyond the last full batch wait for another epoch.
    """
    generator = np.random.default_rng([seed, epoch, 11])
    if balance_power is None:
        order = generator.permutation(len(labels))
    else:
        weights = class_weights(labels, balance_power, int(labels.max()) + 1)[labels]
        order = generator.choice(len(labels), size=len(labels), p=weights / weights.sum())
    size = min(batch_size, len(labels))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def make_metadata_spec(records: Sequence[LesionRecord]) -> PatientMetadataSpec:
    """The sexes and sites that occur in ``records``, sorted."""
    return PatientMetadataSpec(
        age_scale_years=AGE_SCALE_YEARS,
        sexes=sorted({record.sex for record in records if record.sex}),
        sites=sorted({record.site for record in records if record.site}),
    )


def hide_metadata(
    metadata: Tensor, spec: PatientMetadataSpec, probability: float, generator: torch.Generator
) -> Tensor:
    """Make age, sex and site unknown, each on its own with ``probability`` per image; returns a new tensor."""
    bounds = (0, 2, 2 + len(spec.sexes), metadata.shape[1])
    kept = torch.rand((len(metadata), 3), generator=generator) >= probability
    widths = torch.tensor([end - start for start, end in itertools.pairwise(bounds)])
    return metadata * kept.repeat_interleave(widths, dim=1)


def _as_fetched(batch: Any) -> Any:
    return batch
