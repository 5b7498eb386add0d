"""The page, and the two files a browser wants at the root of the site to install it."""

from __future__ import annotations

import json

from flask import Blueprint, Response, current_app, render_template

from edge_runtime.overlay import COLOUR_STOPS
from webapp.model_api import describe_model
from webapp.samples import list_samples
from webapp.state import server_state
from webapp.texts import TEXTS

blueprint = Blueprint("page", __name__)

_ENGINE_NAMES = {"onnx": "ONNX", "tflite": "TFLite"}


def variant_name(variant: str) -> str:
    """Return a variant's name as people read it: ``onnx-int8`` → ``ONNX int8``."""
    engine, _, precision = variant.partition("-")
    return f"{_ENGINE_NAMES.get(engine, engine)} {precision}"


@blueprint.get("/")
def index() -> str:
    """The page itself; its data block tells the scripts all they need, so the first picture needs one request."""
    state = server_state()
    model = describe_model(state)
    variant_names = {name: variant_name(name) for name in state.engines.manifest.variants}
    boot = {
        "model": {**model, "measured": None},
        "texts": TEXTS,
        "variant_names": variant_names,
        "heat": {"stops": COLOUR_STOPS.tolist()},
        "api_key_required": state.configuration.api_key is not None,
    }
    return render_template(
        "index.html",
        texts=TEXTS,
        model=model,
        samples=list_samples(),
        names={lesion_class["code"]: lesion_class["name"] for lesion_class in model["classes"]},
        variant_names=variant_names,
        api_key_required=boot["api_key_required"],
        boot=json.dumps(boot).replace("<", "\\u003c"),
    )


@blueprint.get("/manifest.webmanifest")
def web_manifest() -> Response:
    """What the page looks like when it is installed as an application."""
    response = current_app.send_static_file("manifest.webmanifest")
    response.content_type = "application/manifest+json"
    return response


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The service worker, at the root because it may only serve what lies beneath its own address."""
    response = current_app.send_static_file("js/service-worker.js")
    response.cache_control.no_cache = True
    return response
