"""PyTorch module → ONNX file: one file, dynamic batch, nothing left over from where it came from."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnx import ModelProto

from export.formats.converter_output import capture_output
from export.roles.split_model import RoleGraph

OPSET = 18
"""Read by onnxruntime ≥ 1.14, OpenVINO ≥ 2023 and TensorRT ≥ 8.6; int8 of opset 18 has all that is needed here."""

BATCH_DIMENSION = "N"


def write_onnx(graph: RoleGraph, path: Path, metadata: dict[str, str], *, fixed_batch: bool = False) -> Path:
    """Write a role as fp32 ONNX with the batch dimension ``N``, or for a fixed batch of 1.

    ``metadata`` becomes the file's properties.
    """
    path.write_bytes(file_content(convert_onnx(graph, fixed_batch=fixed_batch), metadata))
    return path


def convert_onnx(graph: RoleGraph, *, fixed_batch: bool = False) -> ModelProto:
    """Return a role as fp32 ONNX with the batch dimension ``N``, or for a fixed batch of 1."""
    # Two images stand for any number: a batch of one is burnt into the graph by the tracer.
    batch = 1 if fixed_batch else 2
    examples = {name: example.expand(batch, *example.shape[1:]).contiguous() for name, example in graph.inputs.items()}
    any_batch = {name: {0: torch.export.Dim(BATCH_DIMENSION)} for name in examples}
    with warnings.catch_warnings(), capture_output(f"torch.onnx on {graph.role}"):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.module,
            kwargs=examples,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=list(examples),
            output_names=list(graph.outputs),
            dynamic_shapes=None if fixed_batch else any_batch,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
    return clean(model, graph.role)


def clean(model: ModelProto, name: str) -> ModelProto:
    """Remove traces of the Python source and give nodes and values short names that are the same in every run."""
    model.producer_name, model.producer_version, model.domain, model.doc_string = "dermedge", "", "", ""
    model.graph.name = name
    del model.graph.value_info[:]  # shapes of inner tensors: every reader infers them, and they hold Python names
    del model.functions[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.metadata_props[:]
    _rename_values(model)
    return model


def file_content(model: ModelProto, metadata: dict[str, str]) -> bytes:
    """Check a model and return its file with ``metadata`` as its properties: the same bytes for the same model."""
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def count_nodes(model: ModelProto) -> dict[str, int]:
    """Return how many nodes of each operator a graph has, most frequent first."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _rename_values(model: ModelProto) -> None:
    graph = model.graph
    named = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        for position, output in enumerate(node.output):
            if output and output not in named:
                names[output] = node.name if position == 0 else f"{node.name}.{position}"
    for node in graph.node:
        for position, value in enumerate(node.input):
            if value in {tensor.name for tensor in graph.initializer} and value not in names:
                names[value] = f"{node.name}.{('input', 'weight', 'bias')[position] if position < 3 else position}"
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
