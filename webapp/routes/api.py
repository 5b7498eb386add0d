"""``/api/v1``: predictions for programs and for the page."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, jsonify, request

from edge_runtime.errors import ImageError
from webapp.problems import without_source
from webapp.protection.rate_limit import spend
from webapp.requests.openapi import Operation, describe
from webapp.requests.prediction import overlay_png, parse_options, predict_upload, prediction_json
from webapp.requests.schemas import BatchResponse, PredictionResponse, PredictOptions
from webapp.requests.uploads import MAX_BATCH, read_submission
from webapp.state import server_state

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_REFUSALS = (400, 401, 408, 411, 413, 415, 422, 429, 503)


@blueprint.post("/predict")
@describe(
    Operation("Classify one image.", {200: PredictionResponse}, refusals=_REFUSALS, form=PredictOptions, images=1)
)
def predict() -> Response:
    """Classify the image of the request."""
    state = server_state()
    spend(1)
    submission = read_submission(request, at_most=1)
    (upload,) = submission.uploads
    options = parse_options(submission.fields)
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
    """Classify each image of the request; an unusable one does not stop the others."""
    state = server_state()
    submission = read_submission(request, at_most=MAX_BATCH)
    spend(len(submission.uploads))
    options = parse_options(submission.fields)
    results = []
    for upload in submission.uploads:
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
    submission = read_submission(request, at_most=1)
    (upload,) = submission.uploads
    options = parse_options(submission.fields)
    if options.explain == "0":
        options = msgspec.structs.replace(options, explain="1")
    prediction = predict_upload(state, upload, options)
    headers = {"X-Label": prediction.label, "X-Explained-Class": str(prediction.explained_class)}
    return Response(overlay_png(prediction), content_type="image/png", headers=headers)
