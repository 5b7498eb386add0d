"""The card's sections on the graphs themselves: what exporting changed, their size, and the cost of a prediction."""

from __future__ import annotations

from typing import Any

from edge_runtime.bundle.manifest import Manifest


def graphs(manifest: Manifest, report: dict[str, Any]) -> str:
    """Return the comparison of every graph with PyTorch, including those that a compact bundle leaves out."""
    measured = manifest.measured
    rows = "".join(
        f"| {one['variant']} | {one['role']} | {one['top1_agreement']:.2%} | {one['max_probability_difference']:.1e} | "
        f"{_change(one['intervals']['accuracy_change'])} | {_change(one['intervals']['balanced_accuracy_change'])} | "
        f"{one['size_bytes'] / 1e6:.1f} | {one['latency_ms']:.2f} |\n"
        for one in report["chains"]
    )
    return (
        f"## Graphs against PyTorch\n\nOn {measured.images} {measured.split} images, where PyTorch in fp32 "
        f"has {measured.accuracy:.2%} accuracy and {measured.balanced_accuracy:.2%} balanced accuracy. Changes are in "
        f"percentage points [95 % interval, {report['intervals']['method']}]; MB of the files that a device loads; "
        f"milliseconds on one thread of the exporting machine ({report['machine']['cpu']}).\n\n"
        "| variant | graphs | same prediction | largest difference | accuracy | balanced accuracy | MB | ms |\n"
        f"|---|---|---|---|---|---|---|---|\n{rows}\n"
    )


def size_and_energy(manifest: Manifest, report: dict[str, Any]) -> str:
    """Return the size of the files and the cost of a prediction, as far as it was measured."""
    total = sum(graph.size_bytes for graph in manifest.graphs)
    loaded = "; ".join(
        f"{name} {sum(manifest.graph(file).size_bytes for file in (one.features, one.head, one.explain)) / 1e6:.1f} MB"
        for name, one in manifest.variants.items()
    )
    int8 = [one for one in report["chains"] if one["variant"].endswith("-int8") and one["role"] == "features+head"]
    work = "; ".join(f"{one['variant']} {one['latency_ms']:.1f} ms" for one in int8)
    return (
        f"## Size and energy\n\n- {len(manifest.graphs)} graph files, {total / 1e6:.1f} MB; a device loads the three "
        f"of one variant: {loaded}\n"
        + (f"- time of one prediction on one thread of {report['machine']['cpu']}: {work}\n" if work else "")
        + "- no GPU is needed; energy was not measured\n\n"
    )


def _change(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None or low == high:
        return f"{100 * value + 0.0:+.2f}"
    return f"{100 * value + 0.0:+.2f} [{100 * low + 0.0:+.2f}, {100 * high + 0.0:+.2f}]"
