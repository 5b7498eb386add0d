"""What programs send and receive: these structs parse requests and generate the OpenAPI document.

Field names are the API's contract and stay as they are: ``picture`` is the image as the model saw it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_runtime.bundle.classes import Group
from edge_runtime.bundle.patient import MAX_AGE_YEARS
from edge_runtime.vocabulary import Precision, Verdict

CLASS_CODE_FORMAT = "class-code"
ClassCode = Annotated[str, Meta(extra_json_schema={"format": CLASS_CODE_FORMAT})]
"""The code of one of the loaded model's classes; the OpenAPI document lists them in the place of this format."""

Probability = Annotated[float, Meta(ge=0, le=1)]


class PredictOptions(msgspec.Struct, frozen=True):
    """Optional fields of a prediction request, in the form or the query string."""

    engine: Annotated[Literal["auto", "onnx", "tflite", "openvino"], Meta(description="Inference engine to use.")] = (
        "auto"
    )
    precision: Annotated[
        Precision | None,
        Meta(description="Precision of the variant; by default the server's."),
    ] = None
    explain: Annotated[
        Literal["0", "1", "map"],
        Meta(description="`1` adds the class-activation map and its overlay (PNG), `map` the map only."),
    ] = "0"
    explain_class: Annotated[
        ClassCode | None, Meta(description="Class to explain; by default the most probable one.")
    ] = None
    picture: Annotated[
        Literal["0", "1"], Meta(description="`1` adds the image as the model saw it, as a PNG data URL.")
    ] = "0"
    age: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_AGE_YEARS)] | None,
        Meta(description="Age in years; used by models that take it."),
    ] = None
    sex: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="One of the model's sexes.")] = None
    site: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="One of the model's sites.")] = None


class PredictionResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The prediction for one image: what `python -m edge_runtime predict --json` prints, and more on request."""

    image: Annotated[str | None, Meta(description="The file name as the client sent it.")]
    label: Annotated[ClassCode, Meta(description="The most probable class, whatever the verdict.")]
    probabilities: Annotated[dict[str, Probability], Meta(description="Calibrated, by class code; they sum to one.")]
    verdict: Verdict
    engine: str
    precision: str
    timing_ms: Annotated[dict[str, float], Meta(description="Milliseconds by stage.")]
    warnings: list[str]
    explained_class: ClassCode | None = None
    class_activation_map: Annotated[
        list[list[float]] | None, Meta(description="Grad-CAM, rows by columns, non-negative, not normalised.")
    ] = None
    overlay: Annotated[
        str | None, Meta(description="PNG data URL of the heat map over the image as the model saw it.")
    ] = None
    picture: Annotated[str | None, Meta(description="PNG data URL of the image as the model saw it.")] = None


class BatchItemError(msgspec.Struct, frozen=True):
    """In a batch: why this image could not be used."""

    image: str | None
    error: str


class BatchResponse(msgspec.Struct, frozen=True):
    """Predictions in the order of the images; an unusable image has an `error` instead."""

    results: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/PredictionResponse"},
                        {"$ref": "#/components/schemas/BatchItemError"},
                    ]
                }
            }
        ),
    ]


class ModelFile(msgspec.Struct, frozen=True):
    """One downloadable graph. `url` is relative to the server; the file never changes under it."""

    file: str
    role: str
    format: str
    precision: str
    size_bytes: int
    sha256: str
    url: str


class ModelClass(msgspec.Struct, frozen=True):
    """One diagnosis the model knows."""

    code: ClassCode
    name: str
    malignant: bool
    group: Group
    meaning: Annotated[str, Meta(description="What the class is, in plain language; may be empty.")]


class ModelResponse(msgspec.Struct, frozen=True):
    """The loaded model: what a client needs from the bundle's manifest."""

    name: str
    architecture: str
    demo: bool
    classes: list[ModelClass]
    input: dict[str, Any]
    variants: Annotated[list[str], Meta(description="Variants this server can run.")]
    default_variant: str
    thresholds: dict[str, float | None]
    patient_metadata: dict[str, Any] | None
    measured: dict[str, Any]
    provenance: dict[str, str]
    files: list[ModelFile]
    limits: Annotated[dict[str, int], Meta(description="`max_upload_bytes`, `max_pixels` and `max_batch`.")]


class HealthResponse(msgspec.Struct, frozen=True):
    """State of the process."""

    status: Literal["ok", "ready", "not ready"]
