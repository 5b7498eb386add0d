"""PyTorch module → TFLite file through litert-torch: batch 1, a signature with the bundle's names."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from export.formats.converter_output import capture_output
from export.roles.split_model import RoleGraph


def convert_tflite(graph: RoleGraph) -> bytes:
    """Return a role as an fp32 TFLite file's bytes."""
    with warnings.catch_warnings(), capture_output(f"litert-torch on {graph.role}"):
        warnings.simplefilter("ignore")
        import litert_torch  # heavy, full of log output, and nothing else of the project needs it

        edge_model = litert_torch.convert(graph.module, sample_kwargs=graph.inputs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.tflite"
            edge_model.export(str(path))
            return path.read_bytes()
