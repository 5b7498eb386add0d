"""``/api/v1``: predictions for programs and for the page."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, jsonify, request

from edge_runtime.errors import ImageError
from webapp.problems import without_source
from webapp.protection.rate_limit import spend
from webapp.requests.openapi import Operation, describe
from webapp.requests.prediction import overlay_png, predict_upload, prediction_json, read_options
from webapp.requests.schemas import BatchResponse, PredictionResponse, PredictOptions
from webapp.requests.uploads import MAX_BATCH, read_uploads
from webapp.state import server_state

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_REFUSALS = (400, 401, 408, 411, 413, 415, 422, 429, 503)


@blueprint.post("/predict")
@describe(
    Operation("Classify one image.", {200: PredictionResponse}, refusals=_REFUSALS, form=PredictOptions, images=1)
)
def predict() -> Response:
    """Classify the image in the form field ``image``."""
    state = server_state()
    spend(1)
    (upload,) = read_uploads(request, at_most=1)
    options = read_options(request)
    return jsonify(prediction_json(predict_upload(state, upload, options), upload.name, options))


@blueprint.post("/predict/batch")
@describe(
    Operation(
        f"Classify up to {MAX_BATCH} images.",
        {200: BatchResponse},
        refusals=_REFUSALS,
        form=PredictOptions,
        images=MAX_BATCH,
    )
)
def predict_batch() -> Response:
    """Classify each image in the form field ``image``; an unusable one does not stop the others."""
    state = server_state()
    uploads = read_uploads(request, at_most=MAX_BATCH)
    spend(len(uploads))
    options = read_options(request)
    results = []
    for upload in uploads:
        try:
            results.append(prediction_json(predict_upload(state, upload, options), upload.name, options))
        except ImageError as error:
            results.append({"image": upload.name, "error": without_source(str(error))})
    return jsonify({"results": results})


@blueprint.post("/explain")
@describe(
    Operation(
        "Draw the heat map of one class over the image.",
        {200: "image/png"},
        refusals=_REFUSALS,
        form=PredictOptions,
        images=1,
    )
)
def explain() -> Response:
    """Return the overlay as a PNG; headers name the predicted and the explained class."""
    state = server_state()
    spend(1)
    (upload,) = read_uploads(request, at_most=1)
    options = read_options(request)
    if options.explain == "0":
        options = msgspec.structs.replace(options, explain="1")
    prediction = predict_upload(state, upload, options)
    headers = {"X-Label": prediction.label, "X-Explained-Class": str(prediction.explained_class)}
    return Response(overlay_png(prediction), content_type="image/png", headers=headers)
