"""How many nodes of each kind the written graphs hold, for the report: what an expert would look for first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx

from edge_runtime.bundle.manifest import GraphFile
from export.formats.onnx_writer import count_nodes


def node_counts(folder: Path, graphs: list[GraphFile]) -> dict[str, dict[str, int]]:
    """Return by file how many nodes of each operator it has, most frequent first."""
    return {graph.file: _count(folder / graph.file) for graph in graphs}


def _count(path: Path) -> dict[str, int]:
    if path.suffix == ".onnx":
        return count_nodes(onnx.load(path))
    from export.formats.tflite_quantisation import operator_scopes  # loads the TFLite quantiser

    counts = Counter(operator for _, operator in operator_scopes(path.read_bytes()))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
