"""The model card: ``README.md`` of a bundle, in Hugging Face's format, from measured facts only."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.manifest import Manifest

DEMO_NOTICE = """> **Demo.** This model was trained on generated phantoms, not on patients' pictures.
> Its answers mean nothing medically.

"""


def write_card(path: Path, manifest: Manifest) -> None:
    """Write the card of a bundle."""
    path.write_text(card_text(manifest), encoding="utf-8")


def card_text(manifest: Manifest) -> str:
    """Return the card: a YAML head for the hub, then prose and tables."""
    measured, provenance = manifest.measured, manifest.provenance
    parts = [
        _front_matter(manifest),
        f"# {manifest.name}\n\n",
        DEMO_NOTICE if manifest.demo else "",
        f"{manifest.architecture} that sorts dermatoscopic pictures into seven diagnoses, as graphs for ONNX Runtime "
        "and LiteRT (TFLite) that run on a processor alone.\n\n"
        "**Research only. Not a medical device; no diagnosis, treatment or triage may rest on it.**\n\n",
        "## Classes\n\n| index | code | name | group |\n|---|---|---|---|\n",
        *(
            f"| {index} | `{one.code}` | {one.name} | {'malignant' if one.malignant else 'benign'} |\n"
            for index, one in enumerate(manifest.classes)
        ),
        f"\n## Figures\n\nOn {measured.images} pictures of the {measured.split} part, PyTorch in fp32:\n\n",
        "| accuracy | balanced accuracy | macro F1 | calibration error |\n|---|---|---|---|\n",
        f"| {measured.accuracy:.2%} | {measured.balanced_accuracy:.2%} | {measured.macro_f1:.3f} | "
        f"{measured.expected_calibration_error:.3f} |\n\n",
        "Every graph against PyTorch on the same pictures (changes in points; size of the files a device loads; "
        "milliseconds on one thread of the exporting machine):\n\n",
        "| variant | graphs | top-1 agreement | largest difference | accuracy | balanced accuracy | MB | ms |\n"
        "|---|---|---|---|---|---|---|---|\n",
        *(
            f"| {one.variant} | {one.role} | {one.top1_agreement:.2%} | {one.max_probability_difference:.1e} | "
            f"{100 * one.accuracy_change:+.2f} | {100 * one.balanced_accuracy_change:+.2f} | "
            f"{one.size_bytes / 1e6:.1f} | {one.latency_ms:.2f} |\n"
            for one in measured.parity
        ),
        "\n## Input\n\nThe decoded picture itself, RGB, stretched to "
        f"{manifest.input.size}×{manifest.input.size} with an antialiased bilinear filter, `uint8` NHWC. "
        "Normalisation is inside the graphs.\n",
        f"\n## Where it comes from\n\n- data: {provenance.data} (fingerprint `{provenance.data_fingerprint[:16]}`)\n"
        f"- split: `{provenance.split_hash[:16]}`, no lesion in two parts\n"
        f"- licence of the data, and so of this model's use: {provenance.licence}\n"
        f"- calibration: temperature {manifest.calibration.temperature:.3f}, fitted on "
        f"{manifest.calibration.fitted_on}\n"
        f"- made {provenance.created} by dermedge {provenance.code_version}\n",
    ]
    return "".join(parts)


def _front_matter(manifest: Manifest) -> str:
    licence = "other" if manifest.demo else "cc-by-nc-4.0"
    tags = ["dermatology", "onnx", "tflite", "grad-cam", *(["demo"] if manifest.demo else [])]
    lines = [
        "---",
        f"license: {licence}",
        "pipeline_tag: image-classification",
        "library_name: dermedge",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "---",
        "",
    ]
    return "\n".join(lines)
