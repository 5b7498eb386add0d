"""What programs send and receive: these structs parse requests, and the OpenAPI document is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.patient import MAX_AGE_YEARS

ClassCode = Annotated[
    str,
    Meta(pattern=f"^({'|'.join(CLASS_CODES)})$", extra_json_schema={"enum": list(CLASS_CODES)}),
]
Probability = Annotated[float, Meta(ge=0, le=1)]


class PredictOptions(msgspec.Struct, frozen=True):
    """Optional fields of a prediction request, in the form or the query string."""

    engine: Annotated[
        Literal["auto", "onnx", "tflite", "openvino"], Meta(description="Inference engine that answers.")
    ] = "auto"
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "dynamic"] | None,
        Meta(description="Precision of the variant; the server's own when left out."),
    ] = None
    explain: Annotated[
        Literal["0", "1", "map"],
        Meta(description="`1` adds the class-activation map and its overlay as a PNG, `map` the numbers only."),
    ] = "0"
    explain_class: Annotated[
        ClassCode | None, Meta(description="Class that the map is for; the most probable one when left out.")
    ] = None
    picture: Annotated[
        Literal["0", "1"], Meta(description="`1` adds the picture as the model saw it, as a PNG data URL.")
    ] = "0"
    age: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_AGE_YEARS)] | None,
        Meta(description="Age in years; only for models that take it."),
    ] = None
    sex: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="One of the model's sexes.")] = None
    site: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="One of the model's sites.")] = None


class PredictionAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one picture: what `python -m edge_runtime predict --json` prints, and more on demand."""

    image: Annotated[str | None, Meta(description="The file name as the client sent it.")]
    label: Annotated[ClassCode, Meta(description="The most probable class, whatever the verdict.")]
    probabilities: Annotated[dict[str, Probability], Meta(description="Calibrated, by class code; they sum to one.")]
    verdict: Literal["diagnosis", "not_sure", "not_a_lesion_image"]
    engine: str
    precision: str
    timing_ms: Annotated[dict[str, float], Meta(description="Milliseconds by stage.")]
    warnings: list[str]
    explained_class: ClassCode | None = None
    class_activation_map: Annotated[
        list[list[float]] | None, Meta(description="Grad-CAM, rows by columns, not negative, not normalised.")
    ] = None
    overlay: Annotated[
        str | None, Meta(description="PNG data URL of the map over the picture as the model saw it.")
    ] = None
    picture: Annotated[str | None, Meta(description="PNG data URL of the picture as the model saw it.")] = None


class PictureError(msgspec.Struct, frozen=True):
    """In a batch: why one picture could not be used, while the others were."""

    image: str | None
    error: str


class BatchAnswer(msgspec.Struct, frozen=True):
    """Answers in the order of the pictures; an unusable one has an `error` instead."""

    results: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/PredictionAnswer"},
                        {"$ref": "#/components/schemas/PictureError"},
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


class ModelAnswer(msgspec.Struct, frozen=True):
    """What is loaded: the parts of the bundle's manifest that a client needs."""

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


class HealthAnswer(msgspec.Struct, frozen=True):
    """State of the process."""

    status: Literal["ok", "ready", "not ready"]
