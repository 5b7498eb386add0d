"""The page itself."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, render_template, request

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.bundle.patient import MAX_AGE_YEARS
from edge_runtime.imaging.formats import supported_formats
from edge_runtime.imaging.overlay import COLOUR_STOPS
from webapp.routes.assets import assets_address, runs_on_device
from webapp.routes.model_api import describe_model
from webapp.samples import list_samples
from webapp.state import server_state
from webapp.texts import TEXTS

blueprint = Blueprint("page", __name__)

_ENGINE_NAMES = {"onnx": "ONNX", "tflite": "TFLite", "openvino": "OpenVINO"}


def variant_name(variant: str) -> str:
    """Return a variant's name as people read it: ``onnx-int8`` → ``ONNX int8``."""
    engine, _, precision = variant.partition("-")
    return f"{_ENGINE_NAMES.get(engine, engine)} {precision}"


@blueprint.get("/")
def index() -> str:
    """Render the page; its data block tells the scripts all they need, so the first image takes one request."""
    state = server_state()
    model = describe_model(state)
    variant_names = {name: variant_name(name) for name in {*state.engines.variants, *state.engines.manifest.variants}}
    boot = {
        "model": {**model, "measured": None},
        "texts": TEXTS,
        "root": request.script_root,
        "formats": image_formats(),
        "variant_names": variant_names,
        "device": device_setup(state.engines.manifest),
        "heat": {"stops": COLOUR_STOPS.tolist()},
        "api_key_required": state.configuration.api_key is not None,
    }
    return render_template(
        "index.html",
        texts=TEXTS,
        model=model,
        samples=list_samples(state.engines.manifest.class_set),
        variant_names=variant_names,
        formats=boot["formats"],
        max_age=f"{MAX_AGE_YEARS:g}",
        api_key_required=boot["api_key_required"],
        boot=json.dumps(boot).replace("<", "\\u003c"),
    )


def image_formats() -> dict[str, list[str]]:
    """Return names, media types and file name endings of the formats that this server decodes."""
    formats = supported_formats()
    return {
        "names": [each.name for each in formats],
        "media_types": [kind for each in formats for kind in each.media_types],
        "suffixes": [suffix for each in formats for suffix in each.suffixes],
    }


def device_setup(manifest: Manifest) -> dict[str, Any] | None:
    """Return where the browser finds what it needs to run the model itself, ``None`` when it cannot."""
    precision = next((each for each in ("int8", "dynamic", "fp32") if f"tflite-{each}" in manifest.variants), None)
    if precision is None or not runs_on_device():
        return None
    variant = manifest.variants[f"tflite-{precision}"]
    return {
        "worker": f"{assets_address()}/litert/device-worker.js",
        "runtime": f"{assets_address()}/litert/",
        "precision": precision,
        "files": {role: getattr(variant, role) for role in ("features", "head", "explain")},
    }
