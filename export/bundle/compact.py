"""A bundle small enough for a repository or a slow link: what a device needs to predict, and nothing else.

Everything is written and measured first. Then the float backbones and whole-network graphs are deleted, and the
manifest keeps what was measured on them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_runtime.bundle.manifest import Manifest, Variant
from edge_runtime.errors import ExportError


def compact_bundle(folder: Path, manifest: Manifest) -> Manifest:
    """Delete all but the int8 variants' ``features``, ``head`` and ``explain``; return the manifest of what is left.

    Raises :class:`ExportError` when the bundle has no int8 variant.
    """
    variants = {
        name: Variant(features=variant.features, head=variant.head, explain=variant.explain)
        for name, variant in manifest.variants.items()
        if name.endswith("-int8")
    }
    if not variants:
        raise ExportError("--compact keeps the int8 variants: expected int8 among --precisions")
    kept = {file for variant in variants.values() for file in (variant.features, variant.head, variant.explain)}
    for graph in manifest.graphs:
        if graph.file not in kept:
            (folder / graph.file).unlink()
    graphs = [graph for graph in manifest.graphs if graph.file in kept]
    return msgspec.structs.replace(manifest, variants=variants, graphs=graphs)
