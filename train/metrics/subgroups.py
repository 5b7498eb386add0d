"""Metrics by sex, age band and anatomical site, to see for which patients a model works less well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.classes import ClassSet
from train.data.records import AGE_BANDS, LesionRecord
from train.metrics.intervals import Interval, bootstrap_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = "unknown"
SMALL_GROUP = 30
"""Groups with fewer images are shown but marked: their metrics are unreliable."""


@dataclass(frozen=True)
class Subgroup:
    """One row of the table. ``malignancy_sensitivity`` is the share of malignant lesions predicted as any malignant
    class, ``malignancy_specificity`` the share of benign ones predicted as any benign class, both 0..1 and ``None``
    where the group has none.
    """

    attribute: str
    value: str
    images: int
    malignant: int
    accuracy: Interval
    balanced_accuracy: Interval
    malignancy_sensitivity: float | None
    malignancy_specificity: float | None


def subgroup_table(
    records: tuple[LesionRecord, ...],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: ClassSet,
    *,
    replicates: int = 300,
) -> tuple[Subgroup, ...]:
    """Return the groups of every attribute, age bands in order, the other values by size, unknown last."""
    rows = []
    for attribute, value_of in ATTRIBUTES.items():
        values = np.array([value_of(record) for record in records])
        for value in sorted(set(values.tolist()), key=lambda one: _place(one, values)):
            members = values == value
            lesions = [record.lesion_id for record, member in zip(records, members, strict=True) if member]
            rows.append(_row((attribute, value), truth[members], probabilities[members], lesions, classes, replicates))
    return tuple(rows)


ATTRIBUTES: dict[str, Callable[[LesionRecord], str]] = {
    "sex": lambda record: record.sex or UNKNOWN,
    "age": lambda record: record.age_band or UNKNOWN,
    "site": lambda record: record.site or UNKNOWN,
}


def _place(value: str, values: NDArray[np.str_]) -> tuple[bool, int, str]:
    rank = AGE_BANDS.index(value) if value in AGE_BANDS else -int((values == value).sum())
    return value == UNKNOWN, rank, value


def _row(
    group: tuple[str, str],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    lesions: list[str],
    classes: ClassSet,
    replicates: int,
) -> Subgroup:
    intervals = bootstrap_intervals(truth, probabilities, lesions, classes, replicates=replicates)
    malignant = np.isin(truth, classes.malignant_indices)
    predicted_malignant = np.isin(probabilities.argmax(axis=1), classes.malignant_indices)
    return Subgroup(
        attribute=group[0],
        value=group[1],
        images=len(truth),
        malignant=int(malignant.sum()),
        accuracy=intervals["accuracy"],
        balanced_accuracy=intervals["balanced_accuracy"],
        malignancy_sensitivity=float(predicted_malignant[malignant].mean()) if malignant.any() else None,
        malignancy_specificity=float((~predicted_malignant[~malignant]).mean()) if (~malignant).any() else None,
    )
