"""The measurements of an export: the parity table as text, and all of them as ``report.json`` in the bundle."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.machine import cpu_name
from export.configuration import Tolerances
from export.parity.check import GraphParity, Reference
from export.parity.measurements import Measurements
from export.parity.tolerances import recall_changes
from train.metrics.intervals import CONFIDENCE_LEVEL, REPLICATES, paired_intervals
from train.report.metrics_tree import plain

REPORT_NAME = "report.json"
MOST_CHANGED = 10


def build_report(
    manifest: Manifest, measurements: Measurements, tolerances: Tolerances, training: dict[str, Any]
) -> dict[str, Any]:
    """Return the tree of ``report.json``: parity with intervals and per-class changes, and all int8 recipes.

    ``manifest`` has its ``measured`` section; ``training`` is what :func:`export.report.run_facts.run_facts` returns.
    """
    measured = {name: value for name, value in msgspec.to_builtins(manifest.measured).items() if name != "parity"}
    return plain(
        {
            "name": manifest.name,
            "measured": measured,
            "training": training,
            "machine": {"cpu": cpu_name(), "system": platform.system(), "threads": 1},
            "tolerances": msgspec.structs.asdict(tolerances),
            "broken_tolerances": list(measurements.broken),
            "intervals": {
                "method": "paired percentile bootstrap over lesions",
                "level": CONFIDENCE_LEVEL,
                "replicates": REPLICATES,
            },
            "int8_recipes": {
                name: [asdict(score) for score in tried] for name, tried in measurements.int8_scores.items()
            },
            "chains": [
                _chain(msgspec.to_builtins(entry), result, measurements)
                for entry, result in zip(measurements.parity, measurements.results, strict=True)
            ],
            "nodes": measurements.node_counts,
            "tflite_routes": list(measurements.tflite_routes),
        }
    )


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write ``report.json`` into a bundle and return its path."""
    path = folder / REPORT_NAME
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def most_changed(result: GraphParity, reference: Reference, count: int = MOST_CHANGED) -> list[tuple[int, float]]:
    """Return the images whose probabilities changed most, as (position, largest difference), largest first."""
    differences = np.abs(result.probabilities - reference.probabilities).max(axis=1)
    return [(index, float(differences[index])) for index in np.argsort(-differences, kind="stable")[:count].tolist()]


def _chain(entry: dict[str, Any], result: GraphParity, measurements: Measurements) -> dict[str, Any]:
    images, reference = measurements.images, measurements.reference
    lesions = [record.lesion_id for record in images.records]
    intervals = paired_intervals(
        images.truth, result.probabilities, reference.probabilities, lesions, reference.classes
    )
    return {
        **entry,
        "intervals": {
            "top1_agreement": intervals["agreement"],
            "accuracy_change": intervals["accuracy"],
            "balanced_accuracy_change": intervals["balanced_accuracy"],
        },
        "classes": {
            code: {"images": count, "correct_change": change, "recall_change": intervals[f"sensitivity/{code}"]}
            for code, (change, count) in recall_changes(result, reference, images.truth).items()
        },
        "explain_correlation": [round(value, 5) for value in result.explain_correlation],
        "most_changed": [
            {"image_id": images.records[index].image_id, "probability_difference": round(difference, 5)}
            for index, difference in most_changed(result, reference)
        ],
    }


def parity_table(manifest: Manifest, measurements: Measurements) -> str:
    """Return one line per chain of graphs, compared with PyTorch on the validation images."""
    head = ("variant", "graphs", "agree", "max Δp", "Δacc", "Δbal.acc", "Grad-CAM r", "MB", "ms")
    rows = [head]
    for entry, result in zip(measurements.parity, measurements.results, strict=True):
        correlation = f"{np.mean(result.explain_correlation):.4f}" if result.explain_correlation else "–"
        rows.append(
            (
                entry.variant,
                entry.role,
                f"{entry.top1_agreement:.2%}",
                f"{entry.max_probability_difference:.1e}",
                f"{100 * entry.accuracy_change:+.2f}",
                f"{100 * entry.balanced_accuracy_change:+.2f}",
                correlation,
                f"{entry.size_bytes / 1e6:.1f}",
                f"{entry.latency_ms:.2f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    measured = manifest.measured
    title = (
        f"{manifest.name}: compared with PyTorch on {measured.images} {measured.split} images "
        f"(accuracy {measured.accuracy:.2%}, balanced accuracy {measured.balanced_accuracy:.2%}); "
        "changes in percentage points, milliseconds on one thread"
    )
    return "\n".join([title, *lines])
