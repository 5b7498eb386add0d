"""Both routes to TFLite, litert-torch and onnx2tf, on the same images and timed in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle.manifest import Manifest
from export.configuration import TFLITE_ROUTES
from export.parity.check import MODEL, GraphParity, Reference, parity_entry
from export.parity.latency import graph_runner, median_latencies

if TYPE_CHECKING:
    from export.images import LabelledImages


@dataclass(frozen=True)
class RouteBundle:
    """The TFLite files that one route wrote, and what they predict."""

    name: str
    folder: Path
    manifest: Manifest
    results: Sequence[GraphParity]


def other_route(route: str) -> str:
    """Return the route that is not this one."""
    return next(name for name in TFLITE_ROUTES if name != route)


def compare_routes(
    one: RouteBundle, other: RouteBundle, images: LabelledImages, reference: Reference
) -> tuple[dict[str, Any], ...]:
    """Return one entry per TFLite variant and role for ``report.json``.

    Per route an entry has size, milliseconds on one thread, agreement with PyTorch and changes in accuracy; and for
    both together how often the predictions agree and how far apart their probabilities are at most.
    """
    others = {(result.variant, result.role): result for result in other.results}
    pairs = [(result, others[result.variant, result.role]) for result in one.results if result.variant[:6] == "tflite"]
    runners = [
        graph_runner(route.folder, route.manifest, result.variant, whole=result.role == MODEL)
        for pair in pairs
        for route, result in zip((one, other), pair, strict=True)
    ]
    milliseconds = iter(median_latencies(runners, images.images[0]))
    entries = []
    for pair in pairs:
        routes = {
            route.name: {**_metrics(result, reference, images), "latency_ms": next(milliseconds)}
            for route, result in zip((one, other), pair, strict=True)
        }
        first, second = (result.probabilities for result in pair)
        entries.append(
            {
                "variant": pair[0].variant,
                "role": pair[0].role,
                "routes": routes,
                "agreement_of_routes": float((first.argmax(1) == second.argmax(1)).mean()),
                "max_probability_difference_of_routes": float(np.abs(first - second).max()),
            }
        )
    return tuple(entries)


def _metrics(result: GraphParity, reference: Reference, images: LabelledImages) -> dict[str, Any]:
    entry = parity_entry(result, reference, images.truth)
    return {
        "size_bytes": entry.size_bytes,
        "top1_agreement": entry.top1_agreement,
        "max_probability_difference": entry.max_probability_difference,
        "accuracy_change": entry.accuracy_change,
        "balanced_accuracy_change": entry.balanced_accuracy_change,
    }
