"""Age, sex and site of a patient, and the one way they become a model's ``metadata`` input.

Training and the device call :func:`encode_patient`; a value that is not known is all zeros, which is what a model
trained with metadata dropout takes for "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_AGE_YEARS = 130.0


@dataclass(frozen=True)
class PatientMetadata:
    """What is known of the patient: age in years, sex and anatomical site in HAM10000's words; ``None``: unknown."""

    age: float | None = None
    sex: str | None = None
    site: str | None = None


def metadata_size(spec: PatientMetadataSpec | None) -> int:
    """Length M of a patient's vector; 0 for a model that takes none."""
    return 0 if spec is None else 2 + len(spec.sexes) + len(spec.sites)


def encode_patient(patient: PatientMetadata | None, spec: PatientMetadataSpec) -> NDArray[np.float32]:
    """Return float32 [M]: age known (0 or 1), age / scale, one-hot sex, one-hot site; zeros where unknown.

    Raises :class:`DataError` for an age outside 0..130 and for a sex or site the model was not trained with.
    """
    vector: NDArray[np.float32] = encode_patients([patient], spec)[0]
    return vector


def encode_patients(patients: Sequence[PatientMetadata | None], spec: PatientMetadataSpec) -> NDArray[np.float32]:
    """Return float32 [N, M], a row as :func:`encode_patient` gives it for each patient. Raises :class:`DataError`."""
    vectors = np.zeros((len(patients), metadata_size(spec)), dtype=np.float32)
    for vector, patient in zip(vectors, patients, strict=True):
        if patient is None:
            continue
        if patient.age is not None:
            if not (math.isfinite(patient.age) and 0 <= patient.age <= MAX_AGE_YEARS):
                raise DataError(f"age: expected 0 to {MAX_AGE_YEARS:.0f} years, found {patient.age!r}")
            vector[0], vector[1] = 1.0, patient.age / spec.age_scale_years
        _mark(vector, 2, "sex", patient.sex, spec.sexes)
        _mark(vector, 2 + len(spec.sexes), "site", patient.site, spec.sites)
    return vectors


def _mark(vector: NDArray[np.float32], start: int, name: str, value: str | None, known: list[str]) -> None:
    word = (value or "").strip().lower()
    if word in ("", "unknown"):
        return
    if word not in known:
        raise DataError(f"{name}: expected one of {', '.join(known)} or unknown, found {value!r}")
    vector[start + known.index(word)] = 1.0
