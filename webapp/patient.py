"""Age, sex and site of a request, for models that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.manifest import Manifest
from webapp.problems import RefusalError
from webapp.schemas import PredictOptions

if TYPE_CHECKING:
    from edge_runtime.patient import PatientMetadata


def read_patient(manifest: Manifest, options: PredictOptions) -> PatientMetadata | None:
    """Return what the request says about the patient, ``None`` for a model that takes no such data.

    Raises :class:`RefusalError` (400) for a sex or site that the model does not know.
    """
    specification = manifest.patient_metadata
    if specification is None:
        return None
    from edge_runtime.patient import PatientMetadata

    for field, value, known in (
        ("sex", options.sex, specification.sexes),
        ("site", options.site, specification.sites),
    ):
        if value is not None and value not in known:
            raise RefusalError(400, f"field '{field}': expected one of {', '.join(known)}, found {value!r}")
    return PatientMetadata(age=options.age, sex=options.sex, site=options.site)
