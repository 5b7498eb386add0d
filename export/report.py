"""What was measured: the parity table as text, and everything as ``report.json`` in the bundle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.manifest import Manifest
from export.calibration_data import LabelledPictures
from export.gate import recall_changes
from export.int8_choice import Score
from export.parity import GraphParity, Reference

REPORT_NAME = "report.json"


def write_report(
    folder: Path,
    manifest: Manifest,
    results: list[GraphParity],
    reference: Reference,
    pictures: LabelledPictures,
    scores: dict[str, list[Score]],
) -> Path:
    """Write ``report.json``: parity with per-class changes and the most changed pictures, and all int8 recipes."""
    chains = []
    for entry, result in zip(manifest.measured.parity, results, strict=True):
        differences = np.abs(result.probabilities - reference.probabilities).max(axis=1)
        chains.append(
            {
                **msgspec.to_builtins(entry),
                "recognised_more_or_fewer": {
                    code: {"pictures": count, "change": change}
                    for code, (change, count) in recall_changes(result, reference, pictures.truth).items()
                },
                "explain_correlation": [round(value, 5) for value in result.explain_correlation],
                "most_changed": [
                    {
                        "image_id": pictures.records[index].image_id,
                        "probability_difference": round(float(differences[index]), 5),
                    }
                    for index in np.argsort(-differences)[:10].tolist()
                ],
            }
        )
    content = {
        "name": manifest.name,
        "int8_recipes": {name: [asdict(score) for score in tried] for name, tried in scores.items()},
        "chains": chains,
    }
    path = folder / REPORT_NAME
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def parity_table(manifest: Manifest, results: list[GraphParity]) -> str:
    """Return one line per graph chain, against PyTorch on the validation pictures."""
    head = ("variant", "graphs", "agree", "max Δp", "Δacc", "Δbal.acc", "Grad-CAM r", "MB", "ms")
    rows = [head]
    for entry, result in zip(manifest.measured.parity, results, strict=True):
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
        f"{manifest.name}: against PyTorch on {measured.images} pictures of {measured.split} "
        f"(accuracy {measured.accuracy:.2%}, balanced accuracy {measured.balanced_accuracy:.2%}); "
        "changes in points, milliseconds on one thread"
    )
    return "\n".join([title, *lines])
