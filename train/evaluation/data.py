"""The images of an evaluation: a data folder, and the subset of its split that the model was not trained on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import DataError
from train.data.cache import open_cache
from train.data.folder import load_records
from train.data.records import LesionRecord
from train.data.split import SUBSETS, Split, read_split
from train.demo.marker import is_demo
from train.evaluation.subject import SubjectFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray


SUBSET_NAMES = {"train": "training set", "validation": "validation set", "test": "test set", "all": "whole data set"}
"""What a subset is called in text."""


class SelectedImages:
    """Some images of a memory-mapped cache, copied only when they are indexed: ``images[3]``, ``images[10:20]``."""

    def __init__(self, images: NDArray[np.uint8], positions: Sequence[int] | NDArray[np.int64]) -> None:
        self.images = images
        self.positions = np.asarray(positions, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: Any) -> NDArray[np.uint8]:
        return np.array(self.images[self.positions[chosen]])


@dataclass(frozen=True)
class EvaluationData:
    """Images uint8 (N, size, size, 3) with their records, in the same order; ``subset`` says which they are.

    ``left_out`` are the ids of images that could not be read.
    """

    folder: Path
    subset: str
    demo: bool
    classes: ClassSet
    records: tuple[LesionRecord, ...]
    images: SelectedImages
    left_out: tuple[str, ...]

    @property
    def truth(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return np.array([record.label for record in self.records], dtype=np.int64)

    def select(self, positions: Sequence[int] | NDArray[np.int64]) -> EvaluationData:
        """Return the images at the given positions only."""
        chosen = np.asarray(positions, dtype=np.int64)
        records = tuple(self.records[index] for index in chosen)
        images = SelectedImages(self.images.images, self.images.positions[chosen])
        return dataclasses.replace(self, records=records, images=images)


def read_evaluation_data(
    facts: SubjectFacts, data: Path | None, subset: str, *, split_file: Path | None, runs: Path, cache: Path
) -> EvaluationData:
    """Read the images of ``subset`` ("validation", "test", "train" or "all").

    The split is ``split_file``, else that of the run whose split hash the subject has; the folder is ``data``, else
    the one that the run was trained on, read with the subject's classes. Raises :class:`DataError` when there is
    nothing to evaluate on.
    """
    known = _folders_with_its_split(facts, runs)
    folder = data or _data_folder(known, facts)
    records = load_records(folder, facts.classes)
    split = read_split(split_file) if split_file else read_split(known[0] / "split.csv") if known else None
    chosen = {record.image_id for record in _choose(records, split, subset, facts, folder)}
    opened = open_cache(records, facts.input_size, cache)  # of the whole folder: the same cache that training built
    by_id = {record.image_id: record for record in records}
    positions = [index for index, image_id in enumerate(opened.image_ids) if image_id in chosen]
    return EvaluationData(
        folder=folder,
        subset=subset,
        demo=is_demo(folder),
        classes=facts.classes,
        records=tuple(by_id[opened.image_ids[index]] for index in positions),
        images=SelectedImages(opened.images, positions),
        left_out=tuple(sorted(chosen & set(opened.unreadable))),
    )


def _folders_with_its_split(facts: SubjectFacts, runs: Path) -> list[Path]:
    """Return the folders that hold the split the subject was trained with: the bundle or the checkpoint's run first."""
    candidates = [facts.source, facts.source.parent, *sorted(path for path in runs.glob("*") if path.is_dir())]
    return [
        folder
        for folder in candidates
        if (folder / "split.csv").is_file() and read_split(folder / "split.csv").hash == facts.split_hash
    ]


def _data_folder(known: list[Path], facts: SubjectFacts) -> Path:
    """Return the folder that the run was trained on. A bundle has the split without this path, so runs are searched."""
    if not known:
        raise DataError(f"{facts.source}: no run with its split was found; use --data FOLDER")
    path = next((folder / "data.json" for folder in known if (folder / "data.json").exists()), known[0] / "data.json")
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: expected the run's data folder ({error}); use --data FOLDER") from None


def _choose(
    records: list[LesionRecord], split: Split | None, subset: str, facts: SubjectFacts, folder: Path
) -> list[LesionRecord]:
    if subset == "all":
        return records
    if split is None:
        prescribed = [record for record in records if record.subset == subset]
        if prescribed:
            return prescribed
        raise DataError(
            f"{facts.source}: no run with its split was found, so the {SUBSET_NAMES[subset]} of {folder} is "
            "unknown; use --split-file FILE, or --split all for images the model never saw"
        )
    chosen = [records[index] for index in split.indices(records, subset)]
    if not chosen:
        found = ", ".join(f"{len(split.indices(records, name))} {name}" for name in SUBSETS)
        raise DataError(
            f"{folder}: expected images of the {SUBSET_NAMES[subset]}, found {len(records)} images of which the split "
            f"knows {found}; use --split all for images the model never saw"
        )
    return chosen
