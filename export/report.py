"""The parity table as text."""

from __future__ import annotations

import numpy as np

from edge_runtime.manifest import Manifest
from export.parity import GraphParity


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
