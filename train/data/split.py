"""The split into train, validation and test: stratified by class, and never one lesion on two sides.

A split is a pure function of the records and a seed, is written as ``split.csv`` (``image_id,subset``) into the run's
folder, can be used again with ``--split``, and its hash travels in every checkpoint made with it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.errors import DataError
from train.data.records import LesionRecord
from train.data.tables import read_table
from train.files import write_text_atomically

SUBSETS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """``subsets`` maps every image id to "train", "validation" or "test"."""

    subsets: dict[str, str]

    @property
    def hash(self) -> str:
        """SHA-256 of the sorted lines ``image_id,subset``, in hexadecimal."""
        lines = "".join(f"{image_id},{subset}\n" for image_id, subset in sorted(self.subsets.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def indices(self, records: Sequence[LesionRecord], *subsets: str) -> list[int]:
        """Positions in ``records`` of the images in any of ``subsets``, in order."""
        return [index for index, record in enumerate(records) if self.subsets.get(record.image_id) in subsets]


def make_split(
    records: Sequence[LesionRecord],
    seed: int = 0,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
    *,
    same: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split by class and lesion; ``same`` are pairs of image ids (near duplicates) that must stay on one side.

    Subsets that the data set prescribes are kept: then only its training set is divided, into training and
    validation, and only if it has no validation set of its own.
    """
    if any(record.subset for record in records):
        return _official_split(records, seed, validation_fraction, same)
    groups = group_records(records, same)
    test = _take_share(groups, records, test_fraction, np.random.default_rng([seed, 1]))
    rest = {key: members for key, members in groups.items() if key not in test}
    share = validation_fraction / max(1.0 - test_fraction, 1e-9)
    validation = _take_share(rest, records, share, np.random.default_rng([seed, 2]))
    return _split_from_groups(groups, records, validation, test)


def make_folds(
    records: Sequence[LesionRecord],
    folds: int,
    seed: int = 0,
    test_fraction: float = 0.15,
    *,
    same: Iterable[tuple[str, str]] = (),
) -> list[Split]:
    """Keep the test set of :func:`make_split`, and rotate the rest through ``folds`` validation sets."""
    if any(record.subset for record in records):
        test_ids = {record.image_id for record in records if record.subset == "test"}
        groups = group_records(records, same)
        test = {key for key, members in groups.items() if any(records[i].image_id in test_ids for i in members)}
    else:
        groups = group_records(records, same)
        test = _take_share(groups, records, test_fraction, np.random.default_rng([seed, 1]))
    rest = {key: members for key, members in groups.items() if key not in test}
    validations: list[set[int]] = [set() for _ in range(folds)]
    for _, keys in _groups_by_class(rest, records, np.random.default_rng([seed, 3])):
        counts = [0] * folds
        for key in sorted(keys, key=lambda key: -len(rest[key])):  # large groups first; the sort keeps the shuffle
            fewest = min(range(folds), key=lambda fold: (counts[fold], len(validations[fold])))
            validations[fewest].add(key)
            counts[fewest] += len(rest[key])
    return [_split_from_groups(groups, records, validation, test) for validation in validations]


def group_records(records: Sequence[LesionRecord], same: Iterable[tuple[str, str]] = ()) -> dict[int, list[int]]:
    """Gather positions that must stay together: one lesion, or linked by ``same``. Keys are first positions."""
    parent = list(range(len(records)))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(one: int, other: int) -> None:
        first, second = sorted((find(one), find(other)))
        parent[second] = first

    position = {record.image_id: index for index, record in enumerate(records)}
    first_of_lesion: dict[str, int] = {}
    for index, record in enumerate(records):
        join(first_of_lesion.setdefault(record.lesion_id, index), index)
    for one, other in same:
        if one in position and other in position:
            join(position[one], position[other])
    groups: dict[int, list[int]] = {}
    for index in range(len(records)):
        groups.setdefault(find(index), []).append(index)
    return groups


def write_split(split: Split, path: Path) -> Path:
    """Write ``image_id,subset`` lines sorted by id; returns ``path``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "subset"))
    writer.writerows(sorted(split.subsets.items()))
    write_text_atomically(path, text.getvalue())
    return path


def read_split(path: Path) -> Split:
    """Read a file written by :func:`write_split`. Raises :class:`DataError` naming file, line and value.

    The column ``subset`` was once called ``part``, and files with that name are still read.
    """
    subsets: dict[str, str] = {}
    for line, row in read_table(path, ("image_id", "subset"), former_names={"part": "subset"}):
        if row["subset"] not in SUBSETS:
            raise DataError(f"{path}, line {line}: expected subset {', '.join(SUBSETS)}, found {row['subset']!r}")
        if row["image_id"] in subsets:
            raise DataError(f"{path}, line {line}: duplicate image id {row['image_id']!r}")
        subsets[row["image_id"]] = row["subset"]
    return Split(subsets)


def check_split(split: Split, records: Sequence[LesionRecord], source: str) -> None:
    """Refuse a split that does not know every image or has a lesion on two sides. Raises :class:`DataError`."""
    subset_of_lesion: dict[str, str] = {}
    for record in records:
        subset = split.subsets.get(record.image_id)
        if subset is None:
            raise DataError(f"{source}: does not list image {record.image_id!r}")
        if subset_of_lesion.setdefault(record.lesion_id, subset) != subset:
            raise DataError(f"{source}: lesion {record.lesion_id!r} is in two subsets, {subset} among them")


def _official_split(
    records: Sequence[LesionRecord], seed: int, validation_fraction: float, same: Iterable[tuple[str, str]]
) -> Split:
    groups = group_records(records, same)
    subsets_of = {key: {records[index].subset or "train" for index in members} for key, members in groups.items()}
    test = {key for key, subsets in subsets_of.items() if "test" in subsets}
    validation = {key for key, subsets in subsets_of.items() if "validation" in subsets} - test
    if not validation:
        rest = {key: members for key, members in groups.items() if key not in test}
        validation = _take_share(rest, records, validation_fraction, np.random.default_rng([seed, 2]))
    return _split_from_groups(groups, records, validation, test)


def _groups_by_class(
    groups: Mapping[int, list[int]], records: Sequence[LesionRecord], generator: np.random.Generator
) -> list[tuple[int, list[int]]]:
    """Group keys by the class most of their images have, each list shuffled."""
    by_class: dict[int, list[int]] = {}
    for key, members in groups.items():
        labels = [records[index].label for index in members]
        by_class.setdefault(max(sorted(set(labels)), key=labels.count), []).append(key)
    shuffled = []
    for label in sorted(by_class):
        keys = sorted(by_class[label], key=lambda key: records[key].image_id)
        shuffled.append((label, [keys[position] for position in generator.permutation(len(keys))]))
    return shuffled


def _take_share(
    groups: Mapping[int, list[int]], records: Sequence[LesionRecord], share: float, generator: np.random.Generator
) -> set[int]:
    """Sample groups until each class has given ``share`` of its images; at least one group stays behind."""
    taken: set[int] = set()
    if share <= 0:
        return taken
    for _, keys in _groups_by_class(groups, records, generator):
        target = share * sum(len(groups[key]) for key in keys)
        count = 0
        for key in keys[:-1]:
            if count + len(groups[key]) / 2 > target and count > 0:
                break
            taken.add(key)
            count += len(groups[key])
    return taken


def _split_from_groups(
    groups: Mapping[int, list[int]], records: Sequence[LesionRecord], validation: set[int], test: set[int]
) -> Split:
    subsets: dict[str, str] = {}
    for key, members in groups.items():
        subset = "test" if key in test else "validation" if key in validation else "train"
        subsets.update((records[index].image_id, subset) for index in members)
    return Split(subsets)
