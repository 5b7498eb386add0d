"""What is known about each image of a data set, whichever layout it came in.

Class codes, ages, sexes and sites have one spelling here; :mod:`train.data.folder` reads the records of a data folder.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.bundle.patient import PatientMetadata, encode_patients

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BAND_STARTS = (30, 45, 60, 75)
AGE_BANDS = ("under 30", "30–44", "45–59", "60–74", "75 and over")
"""The age bands of all reports, youngest first, in years."""


@dataclass(frozen=True)
class LesionRecord:
    """One image of a lesion.

    ``label`` indexes the classes that the data set was read with; ``age`` is in years. ``None`` means unknown.
    ``subset`` is "train", "validation" or "test" where the data set itself prescribes it.
    """

    image_id: str
    path: Path
    lesion_id: str
    label: int
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    dx_type: str | None = None
    subset: str | None = None

    @property
    def age_band(self) -> str | None:
        """The one of :data:`AGE_BANDS` that the age falls into, ``None`` for an unknown age."""
        return None if self.age is None else AGE_BANDS[bisect_right(_BAND_STARTS, self.age)]


def patient_of(record: LesionRecord, spec: PatientMetadataSpec) -> PatientMetadata:
    """Return what is known of the patient; a sex or site that the model was not trained on counts as unknown."""
    return PatientMetadata(
        record.age,
        record.sex if record.sex in spec.sexes else None,
        record.site if record.site in spec.sites else None,
    )


def encode_records(records: Sequence[LesionRecord], spec: PatientMetadataSpec) -> NDArray[np.float32]:
    """Return the patients' metadata as a model takes it, float32 [N, M]."""
    return encode_patients([patient_of(record, spec) for record in records], spec)
