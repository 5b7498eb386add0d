"""From a data folder to what the loop learns from: usable records, their decoded images, and the split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from train.configuration import TrainingConfiguration
from train.data.cache import ImageCache, open_cache
from train.data.classes import choose_classes
from train.data.cluster_folds import make_cluster_folds
from train.data.dataset import LesionDataset, make_metadata_spec
from train.data.folder import DataFolder, read_data_folder
from train.data.licence import data_licence
from train.data.records import LesionRecord
from train.data.report import DataReport, report_data
from train.data.split import Split, check_split, make_folds, make_split, read_split
from train.demo.marker import is_demo

DEMO_FOLDER = Path("data/demo")


@dataclass(frozen=True)
class PreparedData:
    """Records in the order of the cache's images, the split over them, and where they come from."""

    folder: Path
    name: str
    demo: bool
    licence: str
    classes: ClassSet
    records: tuple[LesionRecord, ...]
    cache: ImageCache
    split: Split
    report: DataReport
    metadata_spec: PatientMetadataSpec | None

    @functools.cached_property
    def label_hash(self) -> str:
        """SHA-256 over image ids and labels."""
        return _hash_of((record.image_id, record.label) for record in self.records)

    @functools.cached_property
    def patient_hash(self) -> str:
        """SHA-256 over image ids, lesions, and what is known of the patients."""
        return _hash_of(
            (record.image_id, record.lesion_id, record.age, record.sex, record.site) for record in self.records
        )

    def dataset(self, *subsets: str) -> LesionDataset:
        """The images of the given subsets of the split."""
        return LesionDataset(self.cache, self.records, self.split.indices(self.records, *subsets), self.metadata_spec)


def prepare_data(configuration: TrainingConfiguration) -> PreparedData:
    """Read, check, decode and split the data of a run. Raises :class:`DataError`."""
    folder = Path(configuration.data) if configuration.data else write_demo_data()
    classes = choose_classes(configuration.classes, folder)
    found = _limit(read_data_folder(folder, classes), configuration.limit_images)
    cache = open_cache(found.records, INPUT_SIZE, Path(configuration.cache_folder))
    by_id = {record.image_id: record for record in found.records}
    records = tuple(by_id[image_id] for image_id in cache.image_ids)
    report = report_data(found, cache)
    split = _choose_split(records, cache, configuration, same_pairs(report))
    learned = split.indices(records, *fit_subsets(configuration))
    if not learned:
        raise DataError(f"{folder}: no image is left to learn from ({len(records)} usable)")
    if not split.indices(records, "validation"):
        raise DataError(f"{folder}: no image is left to validate on ({len(records)} usable)")
    demo = is_demo(folder)
    return PreparedData(
        folder=folder,
        name="generated phantoms (demo)" if demo else f"{found.layout}, {folder.name}",
        demo=demo,
        licence=data_licence(folder, configuration.data_licence, found.licences),
        classes=classes,
        records=records,
        cache=cache,
        split=split,
        report=report,
        metadata_spec=make_metadata_spec([records[i] for i in learned]) if configuration.patient_metadata else None,
    )


def _hash_of(rows: Iterable[tuple[object, ...]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def fit_subsets(configuration: TrainingConfiguration) -> tuple[str, ...]:
    """The subsets of the split that ``--fit-on`` names."""
    named = {"train": ("train",), "train+validation": ("train", "validation"), "all": ("train", "validation", "test")}
    return named[configuration.fit_on]


def write_demo_data() -> Path:
    """Generate the demo set if it is not there yet, and return its folder."""
    if not is_demo(DEMO_FOLDER):
        from train.demo.dataset import write_demo_dataset

        write_demo_dataset(DEMO_FOLDER)
    return DEMO_FOLDER


def same_pairs(report: DataReport) -> list[tuple[str, str]]:
    """Pairs of image ids that must stay on one side of a split beside those of one lesion."""
    equal = [pair for group in report.duplicates for pair in itertools.pairwise(group)]
    return equal + list(report.near_duplicates)


def _limit(found: DataFolder, limit: int | None) -> DataFolder:
    """Keep ``limit`` images, evenly spaced in the order of classes, so that each class keeps its share."""
    if limit is None or limit >= len(found.records):
        return found
    by_class = sorted(found.records, key=lambda record: (record.label, record.image_id))
    chosen = [by_class[int(position)] for position in np.linspace(0, len(by_class) - 1, limit)]
    ordered = tuple(sorted(chosen, key=lambda record: record.image_id))
    return dataclasses.replace(found, records=ordered)


def _choose_split(
    records: tuple[LesionRecord, ...],
    cache: ImageCache,
    configuration: TrainingConfiguration,
    same: list[tuple[str, str]],
) -> Split:
    seed, test_fraction = configuration.split_seed, configuration.test_fraction
    if configuration.split is not None:
        split = read_split(Path(configuration.split))
        check_split(split, records, configuration.split)
        return split
    if configuration.folds is not None:
        folds, kind = configuration.folds, configuration.fold_by
        if kind == "lesion":
            return make_folds(records, folds, seed, test_fraction, same=same)[configuration.fold or 0]
        splits = make_cluster_folds(records, cache.images, kind, folds, seed, test_fraction, same=same)
        return splits[configuration.fold or 0]
    return make_split(records, seed, configuration.validation_fraction, test_fraction, same=same)
