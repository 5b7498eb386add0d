"""Both routes to TFLite, litert-torch and onnx2tf, judged by the same images and timed in turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle.manifest import read_manifest
from export.configuration import TFLITE_ROUTES
from export.parity.check import GraphParity, Reference, check_bundle, graph_runner, median_latencies, parity_entry

if TYPE_CHECKING:
    from export.images import LabelledImages


def other_route(route: str) -> str:
    """Return the route that is not this one."""
    return next(name for name in TFLITE_ROUTES if name != route)


def compare_routes(
    bundles: dict[str, Path],
    results: list[GraphParity],
    images: LabelledImages,
    reference: Reference,
) -> list[dict[str, Any]]:
    """Return one entry per TFLite variant and role for ``report.json``.

    ``bundles`` holds the folder by route, first the one that ``results`` were measured on. Per route an entry has size,
    milliseconds on one thread, agreement with PyTorch and changes in accuracy; and of the two routes' answers how often
    they agree and how far apart their probabilities are at most.
    """
    (first, bundle), (second, other_bundle) = bundles.items()
    others = {(result.variant, result.role): result for result in check_bundle(other_bundle, images, reference)}
    pairs = [(result, others[result.variant, result.role]) for result in results if result.variant[:6] == "tflite"]
    runners = [
        graph_runner(folder, read_manifest(folder), result)
        for pair in pairs
        for folder, result in zip((bundle, other_bundle), pair, strict=True)
    ]
    milliseconds = iter(median_latencies(runners, images.images[0]))
    entries = []
    for pair in pairs:
        routes = {
            route: {**_figures(result, reference, images), "latency_ms": next(milliseconds)}
            for route, result in zip((first, second), pair, strict=True)
        }
        one, two = (result.probabilities for result in pair)
        entries.append(
            {
                "variant": pair[0].variant,
                "role": pair[0].role,
                "routes": routes,
                "agreement_of_routes": float((one.argmax(1) == two.argmax(1)).mean()),
                "max_probability_difference_of_routes": float(np.abs(one - two).max()),
            }
        )
    return entries


def _figures(result: GraphParity, reference: Reference, images: LabelledImages) -> dict[str, Any]:
    entry = parity_entry(result, reference, images.truth)
    return {
        "size_bytes": entry.size_bytes,
        "top1_agreement": entry.top1_agreement,
        "max_probability_difference": entry.max_probability_difference,
        "accuracy_change": entry.accuracy_change,
        "balanced_accuracy_change": entry.balanced_accuracy_change,
    }
