"""``python -m edge_runtime explain``: where in one image the evidence for a class lies."""

from __future__ import annotations

import sys

import numpy as np

from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import ExplainOptions
from edge_runtime.errors import printable
from edge_runtime.imaging.overlay import render_heat, render_overlay, render_side_by_side
from edge_runtime.io.image_file import write_png
from edge_runtime.io.output import json_line, prediction_writer
from edge_runtime.io.sources import read_stdin


def run_explain(options: ExplainOptions) -> int:
    """Classify an image, write its Grad-CAM as a PNG, and print the prediction."""
    with load_classifier(options, warn=not options.json) as classifier:
        source = read_stdin() if options.image == "-" else options.image
        prediction = classifier.predict(
            source, explain=True, explain_class=options.class_code, patient=read_patient(options, classifier)
        )
    image_hwc, class_activation_map = prediction.image_hwc, prediction.class_activation_map
    assert class_activation_map is not None
    height, width = image_hwc.shape[:2]
    image = {
        "overlay": lambda: render_overlay(image_hwc, class_activation_map),
        "heat": lambda: render_heat(class_activation_map, width, height),
        "side-by-side": lambda: render_side_by_side(image_hwc, class_activation_map),
    }[options.style]()
    write_png(options.output, image)
    if options.json:
        more = {"explained_class": prediction.explained_class, "overlay": str(options.output)}
        rows = np.round(class_activation_map.astype(float), 6).tolist()
        print(json_line({**prediction.to_json(options.image), **more, "class_activation_map": rows}))
        return 0
    prediction_writer("text", sys.stdout, classifier.manifest.class_set).prediction(options.image, prediction)
    print(f"evidence for {prediction.explained_class}: {printable(str(options.output))}")
    return 0
