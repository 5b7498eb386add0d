"""From the flags that several commands share to a classifier and a patient."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from edge_runtime.classifier import Classifier
from edge_runtime.prediction import DEMO_WARNING


def load_classifier(options: argparse.Namespace, *, warn: bool = True, **numbers: int) -> Classifier:
    """Load what ``--bundle``, ``--engine``, ``--precision``, ``--threads`` and ``--views`` name.

    ``warn`` says on stderr when it is a demo model (JSON and CSV answers say it themselves).
    ``numbers`` are further arguments of :meth:`Classifier.load`, or ``threads`` where the command decides it.
    """
    classifier = Classifier.load(
        options.bundle,
        engine=options.engine,
        precision=options.precision,
        views=options.views,
        **({"threads": options.threads} | numbers),
    )
    if warn and classifier.manifest.demo:
        print(f"warning: {DEMO_WARNING}", file=sys.stderr)
    return classifier


def read_patient(options: argparse.Namespace, classifier: Classifier) -> Any:
    """Return the patient's age, sex and site from the flags, or ``None`` where there are none or none are taken."""
    given = {"age": options.age, "sex": options.sex, "site": options.site}
    if all(value is None for value in given.values()):
        return None
    specification = classifier.manifest.patient_metadata
    if specification is None:
        print("warning: this model does not take age, sex or site; they are ignored", file=sys.stderr)
        return None
    from edge_runtime.bundle.patient import PatientMetadata, encode_patient

    patient = PatientMetadata(**given)
    encode_patient(patient, specification)  # refuses a wrong value before the first image
    return patient
