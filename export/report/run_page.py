"""The report beside the training run: the bundle's page with the images that quantisation changed most.

Images of patients must not travel with a bundle, so only this page shows them, in a folder that git ignores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.classifier import Classifier
from edge_runtime.errors import DermedgeError
from edge_runtime.imaging.overlay import render_overlay, render_side_by_side
from edge_runtime.prediction import Prediction
from export.parity.check import CHAIN, GraphParity, map_correlation, open_variant
from export.parity.measurements import Measurements
from export.report.data import most_changed
from export.report.page import PAGE_NAME, render_page
from train.data.records import LesionRecord, patient_of
from train.files import write_text_atomically
from train.report.html import data_url, encode_jpeg

FOLDER_NAME = "export-report"
SHOWN = 6
"""Images shown per variant."""


def write_run_report(
    run: Path, bundle: Path, manifest: Manifest, report: dict[str, Any], measurements: Measurements
) -> Path | None:
    """Write ``<run>/export-report/report.html`` and return it, or ``None`` when the run's folder cannot be written.

    ``bundle`` is the folder of the graphs and must still hold the fp32 ones. A report that cannot be written is no
    reason to refuse a bundle.
    """
    cases = {
        result.variant: _cases(bundle, manifest, result, measurements)
        for result in measurements.results
        if result.role == CHAIN and result.variant.endswith(("int8", "dynamic"))
    }
    path = run / FOLDER_NAME / PAGE_NAME
    try:
        write_text_atomically(path, render_page(manifest, report, None, cases))
    except DermedgeError as error:
        print(error, file=sys.stderr)
        return None
    return path


def _cases(bundle: Path, manifest: Manifest, result: GraphParity, measurements: Measurements) -> list[dict[str, Any]]:
    images, reference = measurements.images, measurements.reference
    engine = result.variant.partition("-")[0]
    with (
        open_variant(bundle, manifest, f"{engine}-fp32") as exact,
        open_variant(bundle, manifest, result.variant) as quantised,
    ):
        cases = []
        for index, difference in most_changed(result, reference, SHOWN):
            image, record = images.images[index], images.records[index]
            code = reference.classes.codes[int(reference.probabilities[index].argmax())]
            before, after = (_explain(classifier, image, record, code) for classifier in (exact, quantised))
            cases.append({"image_id": record.image_id, "truth": reference.classes.codes[record.label],
                "difference": difference, **_compare(image, before, after)})  # fmt: skip
        return cases


def _explain(classifier: Classifier, image: np.ndarray, record: LesionRecord, code: str) -> Prediction:
    specification = classifier.manifest.patient_metadata
    patient = None if specification is None else patient_of(record, specification)
    return classifier.predict(image, explain_class=code, patient=patient)


def _compare(image: np.ndarray, before: Prediction, after: Prediction) -> dict[str, Any]:
    maps = [before.class_activation_map, after.class_activation_map]
    assert maps[0] is not None
    assert maps[1] is not None
    height, width = image.shape[:2]
    panels = Image.new("RGB", (3 * width, height))
    panels.paste(render_side_by_side(image, maps[0]), (0, 0))
    panels.paste(render_overlay(image, maps[1]), (2 * width, 0))
    return {
        "before": before.label,
        "before_probability": before.confidence,
        "after": after.label,
        "after_probability": after.confidence,
        "correlation": map_correlation(maps[0], maps[1]),
        "image": data_url(encode_jpeg(panels), "image/jpeg"),
    }
