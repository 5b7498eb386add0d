"""The metadata of a model card for the hub: YAML between two lines of dashes, with the metrics as ``model-index``.

Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import json
from typing import Any

from edge_runtime.bundle.manifest import Manifest

HUB_LICENCES = {
    "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc-by-nc": "cc-by-nc-4.0",
    "cc by 4.0": "cc-by-4.0",
    "cc-by": "cc-by-4.0",
    "cc0": "cc0-1.0",
    "cc-0": "cc0-1.0",
    "unknown": "unknown",
}
"""What the text of a data licence begins with, as the ISIC Archive and others write it → the hub's name for it."""

SUMMARY = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")


def front_matter(manifest: Manifest, evaluations: dict[str, Any]) -> str:
    """Return the metadata between its lines of dashes. Every string is written as JSON, which is YAML too."""
    tags = ["dermatology", "dermoscopy", "onnx", "tflite", "int8", "grad-cam", *(["demo"] if manifest.demo else [])]
    lines = [
        "---",
        *_licence(manifest),
        "pipeline_tag: image-classification",
        "library_name: dermedge",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "metrics:",
        *(f"- {name}" for name in SUMMARY),
        *_model_index(manifest, evaluations),
        "---",
        "",
    ]
    return "\n".join(lines)


def _licence(manifest: Manifest) -> list[str]:
    """Return the hub's licence of a model trained on data under this licence; the card itself gives it in full."""
    licence = manifest.provenance.licence.lower()
    several = "," in licence.partition("(")[0]
    for text, name in HUB_LICENCES.items():
        if not several and (licence == text or licence.startswith((f"{text} ", f"{text}:"))):
            return [f"license: {name}"]
    name = "generated-images" if manifest.demo else "licence-of-the-data"
    return ["license: other", f"license_name: {name}", "license_link: README.md"]


def _model_index(manifest: Manifest, evaluations: dict[str, Any]) -> list[str]:
    """Return the metrics on the test set, or on the validation set where nobody evaluated the bundle yet."""
    results = []
    for variant, report in evaluations.items():
        subset, images = report["data"]["subset"], report["data"]["images"]
        metrics = [(name, report["summary"][name]["value"]) for name in SUMMARY]
        metrics.append(("expected_calibration_error", report["calibration"]["after"]["expected_calibration_error"]))
        results += _result(manifest, f"{subset}, {images} images", subset, variant, metrics)
    if not results:
        measured = manifest.measured
        metrics = [(name, getattr(measured, name)) for name in ("accuracy", "balanced_accuracy", "macro_f1")]
        results = _result(
            manifest, f"{measured.split}, {measured.images} images", "validation", "PyTorch fp32", metrics
        )
    return ["model-index:", f"- name: {json.dumps(manifest.name)}", "  results:", *results]


def _result(manifest: Manifest, images: str, subset: str, variant: str, metrics: list[tuple[str, float]]) -> list[str]:
    data = manifest.provenance.data
    return [
        "  - task:",
        "      type: image-classification",
        f"      name: {json.dumps(f'skin lesions of {len(manifest.classes)} classes, {variant}')}",
        "    dataset:",
        f"      name: {json.dumps(f'{data} ({images})', ensure_ascii=False)}",
        f"      type: {json.dumps(data.split(',')[0].lower().replace(' ', '-'))}",
        f"      config: {json.dumps(variant)}",
        f"      split: {json.dumps(subset)}",
        "    metrics:",
        *(
            line
            for name, value in metrics
            for line in (
                f"    - type: {name}",
                f"      value: {json.dumps(value)}",
                f"      name: {json.dumps(f'{name} ({variant})'.replace('_', ' '))}",
            )
        ),
    ]
