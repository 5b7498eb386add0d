"""From an uploaded image to the JSON object that a program or the page receives."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from PIL import Image

from edge_runtime.imaging.overlay import encode_png, render_overlay
from edge_runtime.prediction import Prediction
from webapp.problems import RefusalError
from webapp.requests.patient import read_patient
from webapp.requests.schemas import PredictOptions
from webapp.requests.uploads import Upload
from webapp.state import ServerState


def parse_options(fields: dict[str, str]) -> PredictOptions:
    """Parse the optional fields of a request; empty ones are absent. Raises :class:`RefusalError` (400)."""
    given = {name: value for name, value in fields.items() if value != ""}
    try:
        return msgspec.convert(given, PredictOptions, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise RefusalError(400, f"field '{place.rstrip('`') or 'form'}': {message[:1].lower()}{message[1:]}") from None


def predict_upload(state: ServerState, upload: Upload, options: PredictOptions) -> Prediction:
    """Classify one image, after waiting for a free CPU.

    Raises :class:`RefusalError` for a refusal and :class:`~edge_runtime.errors.ImageError` for an unusable image.
    """
    classifier = state.engines.select(options.engine, options.precision)
    if options.explain_class is not None and options.explain_class not in classifier.class_codes:
        codes = " ".join(classifier.class_codes)
        raise RefusalError(400, f"field 'explain_class': expected one of {codes}, found {options.explain_class!r}")
    explain = options.explain != "0" or options.explain_class is not None
    patient = read_patient(classifier.manifest, options)
    with state.gate.enter():
        prediction = classifier.predict(
            upload.data, explain=explain, explain_class=options.explain_class, patient=patient
        )
    _count(state, prediction)
    return prediction


def _count(state: ServerState, prediction: Prediction) -> None:
    variant = f"{prediction.engine}-{prediction.precision}"
    state.metrics.predictions.labels(prediction.label, prediction.verdict, variant).inc()
    for stage, milliseconds in prediction.timing_ms.items():
        state.metrics.engine_seconds.labels(variant, stage).observe(milliseconds / 1e3)


def prediction_json(prediction: Prediction, name: str | None, options: PredictOptions) -> dict[str, Any]:
    """Return the command line's object for a prediction, with heat map and overlay if requested."""
    fields = prediction.to_json(name)
    if prediction.class_activation_map is not None:
        fields["explained_class"] = prediction.explained_class
        rows = prediction.class_activation_map.tolist()
        fields["class_activation_map"] = [[float(f"{value:.6g}") for value in row] for row in rows]
        if options.explain == "1":
            fields["overlay"] = data_url(overlay_png(prediction))
    if options.picture == "1":
        fields["picture"] = data_url(encode_png(Image.fromarray(prediction.image_hwc)))
    return fields


def overlay_png(prediction: Prediction) -> bytes:
    """Return the heat map over the image as the model saw it, as a PNG file."""
    assert prediction.class_activation_map is not None
    return encode_png(render_overlay(prediction.image_hwc, prediction.class_activation_map))


def data_url(png: bytes) -> str:
    """Return a PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
