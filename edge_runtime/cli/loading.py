"""From the options that several commands share to a loaded classifier and a patient."""

from __future__ import annotations

import sys

from edge_runtime.bundle.patient import PatientMetadata, encode_patient
from edge_runtime.classifier import Classifier
from edge_runtime.options import ClassifierOptions, PatientOptions
from edge_runtime.prediction import DEMO_WARNING


def load_classifier(
    options: ClassifierOptions, *, warn: bool = True, threads: int | None = None, replicas: int = 1
) -> Classifier:
    """Load what the options name, with ``threads`` where the command decides that number.

    ``warn`` says on stderr when it is a demo model (JSON and CSV output say it themselves).
    """
    classifier = Classifier.load(
        options.bundle,
        engine=options.engine,
        precision=options.precision,
        views=options.views,
        threads=threads or options.threads,
        replicas=replicas,
    )
    if warn and classifier.manifest.demo:
        print(f"warning: {DEMO_WARNING}", file=sys.stderr)
    return classifier


def read_patient(options: PatientOptions, classifier: Classifier) -> PatientMetadata | None:
    """Return the patient's age, sex and site, or ``None`` where none are given or the model takes none.

    Raises :class:`~edge_runtime.errors.DataError` for a value that the model does not know.
    """
    patient = PatientMetadata(options.age, options.sex, options.site)
    if patient == PatientMetadata():
        return None
    specification = classifier.manifest.patient_metadata
    if specification is None:
        print("warning: this model does not take age, sex or site; they are ignored", file=sys.stderr)
        return None
    encode_patient(patient, specification)  # refuses a wrong value before the first image
    return patient
