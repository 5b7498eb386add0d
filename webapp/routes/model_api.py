"""``/api/v1/model``: the loaded model, and its graph files for devices and browsers that run the model themselves."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request, send_from_directory, url_for

from webapp.problems import RefusalError
from webapp.requests.openapi import Operation, describe
from webapp.requests.schemas import ModelResponse
from webapp.requests.uploads import MAX_BATCH
from webapp.state import ServerState, server_state

blueprint = Blueprint("model", __name__, url_prefix="/api/v1/model")

_YEAR = 365 * 24 * 3600
_BINARY = "application/octet-stream"


@blueprint.get("")
@describe(Operation("Describe the loaded model.", {200: ModelResponse}, refusals=(401,)))
def model() -> Response:
    """Return what a client needs from the manifest."""
    response = jsonify(describe_model(server_state()))
    response.add_etag()
    return response


@blueprint.get("/files/<sha256>/<file>")
@describe(
    Operation(
        "Download one graph of the bundle.",
        {200: _BINARY},
        refusals=(401, 404),
        path_parameters={"sha256": "The file's SHA-256.", "file": "The file's name, as `/api/v1/model` lists it."},
    )
)
def model_file(sha256: str, file: str) -> Response:
    """Return a graph file; its URL holds its checksum, so it may be cached for ever."""
    engines = server_state().engines
    graph = next((graph for graph in engines.manifest.graphs if graph.file == file), None)
    if graph is None or graph.sha256 != sha256:
        raise RefusalError(404, "the loaded bundle has no such file")
    response = send_from_directory(
        engines.bundle.resolve(),
        file,
        mimetype=_BINARY,
        conditional=False,
        etag=False,
        max_age=_YEAR,
    )
    response.set_etag(sha256)
    response.cache_control.immutable = True
    response.make_conditional(request)
    return response


def describe_model(state: ServerState) -> dict[str, Any]:
    """Return the body of ``GET /api/v1/model`` as plain data."""
    manifest = state.engines.manifest
    plain = msgspec.to_builtins(manifest)
    files = [
        {
            **{name: graph[name] for name in ("file", "role", "format", "precision", "size_bytes", "sha256")},
            "url": url_for("model.model_file", sha256=graph["sha256"], file=graph["file"]),
        }
        for graph in plain["graphs"]
    ]
    copied = ("name", "architecture", "demo", "input", "thresholds", "patient_metadata", "measured")
    return {
        **{name: plain[name] for name in copied},
        "classes": [
            {name: getattr(one, name) for name in ("code", "name", "malignant", "group", "meaning")}
            for one in manifest.class_set.classes
        ],
        "provenance": plain["provenance"],
        "variants": state.engines.variants,
        "default_variant": state.engines.default_variant,
        "files": files,
        "limits": {
            "max_upload_bytes": state.configuration.max_upload_bytes,
            "max_pixels": state.configuration.max_pixels,
            "max_batch": MAX_BATCH,
        },
    }
