"""Age, sex and anatomical site from a request, for models that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import DataError
from webapp.problems import RefusalError
from webapp.requests.schemas import PredictOptions

if TYPE_CHECKING:
    from edge_runtime.bundle.patient import PatientMetadata


def read_patient(manifest: Manifest, options: PredictOptions) -> PatientMetadata | None:
    """Return what the request says about the patient, ``None`` for a model that takes no such data.

    Raises :class:`RefusalError` (400) for a sex or site that the model does not know.
    """
    specification = manifest.patient_metadata
    if specification is None:
        return None
    from edge_runtime.bundle.patient import PatientMetadata, encode_patient

    patient = PatientMetadata(age=options.age, sex=options.sex, site=options.site)
    try:
        encode_patient(patient, specification)
    except DataError as error:
        raise RefusalError(400, f"field {error}") from None
    return patient
