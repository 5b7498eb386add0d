"""The manifest of a bundle, from the written files, the checkpoint and what was measured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import torch

from edge_runtime.bundle.manifest import (
    ROLES,
    SCHEMA_VERSION,
    Calibration,
    GraphFile,
    InputSpec,
    Manifest,
    Measured,
    Parity,
    Provenance,
    TensorSpec,
    Thresholds,
    Variant,
    WeightsFile,
)
from edge_runtime.vocabulary import GraphFormat, Precision
from export.bundle.code_version import code_version
from export.inputs import ExportInputs
from export.roles.split_model import RoleGraph


def graph_entry(path: Path, graph: RoleGraph, precision: str) -> GraphFile:
    """Return the entry of a written file ``<role>.<precision>.<format>``."""
    data = path.read_bytes()
    batch = -1 if path.suffix == ".onnx" else 1
    outputs = graph.module(**graph.inputs)
    return GraphFile(
        file=path.name,
        role=graph.role,
        format=cast(GraphFormat, path.suffix[1:]),
        precision=cast(Precision, precision),
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=[_tensor(name, tensor, batch) for name, tensor in graph.inputs.items()],
        outputs=[_tensor(name, outputs[name], batch) for name in graph.outputs],
    )


def variants_of(graphs: list[GraphFile]) -> dict[str, Variant]:
    """Return the variants that a list of graphs makes up; roles without an own precision are the format's fp32."""
    files = {(graph.format, graph.precision, graph.role): graph.file for graph in graphs}
    variants = {}
    for format_name, precision in sorted({(graph.format, graph.precision) for graph in graphs}):
        if (format_name, precision, "features") in files:
            chosen = {role: files.get((format_name, precision, role), f"{role}.fp32.{format_name}") for role in ROLES}
            variants[f"{format_name}-{precision}"] = Variant(**chosen)
    return variants


def build_manifest(name: str, inputs: ExportInputs, graphs: list[GraphFile], measured: Measured) -> Manifest:
    """Return the manifest of a bundle; :func:`with_parity` adds what the gate measures."""
    checkpoint = inputs.checkpoint
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        architecture=checkpoint.architecture,
        demo=checkpoint.demo,
        classes=list(checkpoint.classes.classes),
        input=InputSpec(size=checkpoint.input_size),
        graphs=graphs,
        variants=variants_of(graphs),
        calibration=Calibration(
            temperature=checkpoint.temperature,
            fitted_on="nothing" if checkpoint.temperature == 1.0 else "validation",
        ),
        thresholds=Thresholds(
            not_sure_below=checkpoint.not_sure_below,
            coverage=checkpoint.coverage,
            not_lesion_above=checkpoint.extra.get("not_lesion_above"),
            false_alarm_rate=checkpoint.extra.get("false_alarm_rate"),
        ),
        measured=measured,
        provenance=Provenance(
            data=checkpoint.data_name,
            data_fingerprint=checkpoint.data_fingerprint,
            split_hash=checkpoint.split_hash,
            checkpoint_sha256=hashlib.sha256(inputs.source.read_bytes()).hexdigest(),
            code_version=code_version(),
            created=creation_time().isoformat(timespec="seconds"),
            licence=checkpoint.licence,
        ),
        patient_metadata=checkpoint.metadata_spec,
    )


def with_weights(manifest: Manifest, weights: WeightsFile) -> Manifest:
    """Return the manifest with the entry of ``weights.safetensors``."""
    return msgspec.structs.replace(manifest, weights=weights)


def with_parity(manifest: Manifest, parity: Sequence[Parity]) -> Manifest:
    """Return the manifest with the measured differences from the PyTorch model."""
    measured = msgspec.structs.replace(manifest.measured, parity=list(parity))
    return msgspec.structs.replace(manifest, measured=measured)


def with_graphs(manifest: Manifest, graphs: list[GraphFile]) -> Manifest:
    """Return the manifest of the same model in other files."""
    return msgspec.structs.replace(manifest, graphs=graphs, variants=variants_of(graphs))


def creation_time() -> datetime:
    """Return now, or ``$SOURCE_DATE_EPOCH`` (reproducible-builds.org) where it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)


def _tensor(name: str, tensor: torch.Tensor, batch: int) -> TensorSpec:
    return TensorSpec(
        name=name, dtype="uint8" if tensor.dtype == torch.uint8 else "float32", shape=[batch, *tensor.shape[1:]]
    )
