"""A model card's figures of the graphs themselves: what exporting changed, their size, and the work of an answer."""

from __future__ import annotations

from typing import Any

from edge_runtime.bundle.manifest import Manifest


def graphs(manifest: Manifest, report: dict[str, Any]) -> str:
    """Return the table of every graph that was made against PyTorch, also of those that a compact bundle left out."""
    measured = manifest.measured
    rows = "".join(
        f"| {one['variant']} | {one['role']} | {one['top1_agreement']:.2%} | {one['max_probability_difference']:.1e} | "
        f"{_change(one['intervals']['accuracy_change'])} | {_change(one['intervals']['balanced_accuracy_change'])} | "
        f"{one['size_bytes'] / 1e6:.1f} | {one['latency_ms']:.2f} |\n"
        for one in report["chains"]
    )
    return (
        f"## Graphs against PyTorch\n\nOn {measured.images} images of the {measured.split} part, where PyTorch in "
        f"fp32 has {measured.accuracy:.2%} accuracy and {measured.balanced_accuracy:.2%} balanced accuracy. Changes in "
        f"points [95 % interval, {report['intervals']['method']}]; MB of the files a device loads; milliseconds on one "
        f"thread of the exporting machine ({report['machine']['processor']}).\n\n"
        "| variant | graphs | same answer | largest difference | accuracy | balanced accuracy | MB | ms |\n"
        f"|---|---|---|---|---|---|---|---|\n{rows}\n"
    )


def size_and_energy(manifest: Manifest, report: dict[str, Any]) -> str:
    """Return what the files weigh and what an answer costs, as far as it was measured."""
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
        + (f"- processor time of one answer, one thread of {report['machine']['processor']}: {work}\n" if work else "")
        + "- no graphics processor is needed for an answer; energy was not measured\n\n"
    )


def _change(interval: dict[str, float | None]) -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    if value is None:
        return "–"
    if low is None or high is None or low == high:
        return f"{100 * value + 0.0:+.2f}"
    return f"{100 * value + 0.0:+.2f} [{100 * low + 0.0:+.2f}, {100 * high + 0.0:+.2f}]"
