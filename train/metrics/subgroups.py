"""The same figures for parts of the patients, to see whom a model serves worse: by sex, age band and site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from train.data.records import LesionRecord
from train.metrics.classification import malignant_indices
from train.metrics.intervals import Interval, bootstrap_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

AGE_BANDS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
"""Years, lower bound included, upper excluded."""

UNKNOWN = "unknown"
SMALL_GROUP = 30
"""Groups with fewer images are shown but marked: their figures say little."""


@dataclass(frozen=True)
class Subgroup:
    """One row of the table. ``malignant_found`` is the share of malignant lesions answered with a malignant class,
    ``benign_left_alone`` the share of benign ones answered with a benign class; ``None`` where there are none.
    """

    attribute: str
    value: str
    images: int
    malignant: int
    accuracy: Interval
    balanced_accuracy: Interval
    malignant_found: float | None
    benign_left_alone: float | None


def subgroup_table(
    records: tuple[LesionRecord, ...],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    replicates: int = 300,
) -> tuple[Subgroup, ...]:
    """Return the groups of every attribute, age bands in order, the other values by size, unknown last."""
    rows = []
    for attribute, value_of in ATTRIBUTES.items():
        values = np.array([value_of(record) for record in records])
        for value in sorted(set(values.tolist()), key=lambda one: _place(attribute, one, values)):
            members = values == value
            lesions = [record.lesion_id for record, member in zip(records, members, strict=True) if member]
            rows.append(_row(attribute, value, truth[members], probabilities[members], lesions, replicates))
    return tuple(rows)


def age_band(age: float | None) -> str:
    """Return the band an age in years falls into, such as "45–59"."""
    if age is None:
        return UNKNOWN
    low, high = next(band for band in AGE_BANDS if band[0] <= age < band[1])
    if low == 0:
        return f"under {high}"
    return f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low}–{high - 1}"


ATTRIBUTES: dict[str, Callable[[LesionRecord], str]] = {
    "sex": lambda record: record.sex or UNKNOWN,
    "age": lambda record: age_band(record.age),
    "site": lambda record: record.site or UNKNOWN,
}


def _place(attribute: str, value: str, values: NDArray[np.str_]) -> tuple[bool, int, str]:
    if attribute == "age" and value != UNKNOWN:
        rank = [age_band(float(low)) for low, _ in AGE_BANDS].index(value)
    else:
        rank = -int((values == value).sum())
    return value == UNKNOWN, rank, value


def _row(
    attribute: str,
    value: str,
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    lesions: list[str],
    replicates: int,
) -> Subgroup:
    intervals = bootstrap_intervals(truth, probabilities, lesions, replicates=replicates)
    malignant = np.isin(truth, malignant_indices())
    called_malignant = np.isin(probabilities.argmax(axis=1), malignant_indices())
    return Subgroup(
        attribute=attribute,
        value=value,
        images=len(truth),
        malignant=int(malignant.sum()),
        accuracy=intervals["accuracy"],
        balanced_accuracy=intervals["balanced_accuracy"],
        malignant_found=float(called_malignant[malignant].mean()) if malignant.any() else None,
        benign_left_alone=float((~called_malignant[~malignant]).mean()) if (~malignant).any() else None,
    )
