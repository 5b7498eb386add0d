"""What an export measured: one object from which the manifest, the reports and the gate's verdict are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_runtime.bundle.manifest import Measured, Parity
from export.images import LabelledImages
from export.inputs import ExportInputs
from export.int8.recipe_search import Score
from export.parity.check import GraphParity, Reference
from train.metrics.classification import summary_metrics


@dataclass(frozen=True)
class Measurements:
    """Every graph of a bundle against the PyTorch model on the validation ``images``.

    ``results`` and ``parity``, the manifest's entries, have one item per variant and chain of graphs, in the same
    order. ``broken`` has one line per tolerance that a graph breaks. ``int8_scores`` are, by format, the recipes that
    were tried; ``node_counts`` the operators of each file; ``tflite_routes`` the comparison of both converters, empty
    where none was asked for.
    """

    images: LabelledImages
    reference: Reference
    results: tuple[GraphParity, ...]
    parity: tuple[Parity, ...]
    broken: tuple[str, ...]
    int8_scores: dict[str, list[Score]]
    node_counts: dict[str, dict[str, int]]
    tflite_routes: tuple[dict[str, Any], ...] = ()


def measured_section(inputs: ExportInputs, reference: Reference) -> Measured:
    """Return the manifest's ``measured`` section with the PyTorch model's metrics, its parity still empty."""
    metrics = summary_metrics(inputs.validation.truth, reference.probabilities)
    trained_on = inputs.checkpoint.config.get("fit_on", "train") != "train"
    return Measured(
        split="validation (also trained on)" if trained_on else "validation",
        images=len(inputs.validation),
        accuracy=metrics["accuracy"],
        balanced_accuracy=metrics["balanced_accuracy"],
        macro_f1=metrics["macro_f1"],
        expected_calibration_error=metrics["expected_calibration_error"],
        parity=[],
    )
