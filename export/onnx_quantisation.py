"""fp32 ONNX → int8 (QDQ) and fp16.

Int8 graphs hold unsigned 8-bit activations and signed weights, one scale per output channel. Weights use 7 of their
8 bits (-64..64): processors without VNNI add two products in 16 bits, and 2 · 255 · 64 = 32,640 < 32,767 fits whatever
the picture, so the answer is the same on every processor (onnxruntime documents this as "saturation").
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

from export.activation_ranges import Range, TensorStatistics
from export.converter_output import capture_output
from export.onnx_writer import clean

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTISED_OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "HardSigmoid", "MaxPool", "Mul",
    "Relu", "Sigmoid",
)  # fmt: skip
"""Operators that onnxruntime computes in int8. Others pass a tensor on or stay float."""

PREPROCESSING_OPERATORS = ("Cast", "Sub", "Mul", "Transpose")


def record_statistics(model: ModelProto, images: Iterable[NDArray[np.uint8]]) -> dict[str, TensorStatistics]:
    """Run the float graph on pictures of shape (S, S, 3) and return what its float tensors looked like."""
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = [
        value
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    outputs = {output.name for output in inferred.graph.output}
    inferred.graph.output.extend(value for value in floats if value.name not in outputs)
    names = [value.name for value in floats]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(inferred.SerializeToString(), options, providers=["CPUExecutionProvider"])
    statistics = {name: TensorStatistics() for name in names}
    for image in images:
        for name, values in zip(names, session.run(names, {"image_nhwc": image[np.newaxis]}), strict=True):
            statistics[name].add(values)
    return statistics


def quantise_int8(model: ModelProto, ranges: dict[str, Range], float_nodes: frozenset[str] = frozenset()) -> ModelProto:
    """Return the int8 graph of a float ``features`` graph; ``float_nodes`` stay float."""
    preprocessing = preprocessing_nodes(model)
    limits = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type in QUANTISED_OPERATORS and node.name not in preprocessing | float_nodes
    ]
    with warnings.catch_warnings(), capture_output("onnxruntime quantisation"):
        warnings.simplefilter("ignore")
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(model),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=nodes,
            nodes_to_exclude=sorted(preprocessing | float_nodes),
            op_types_to_quantize=list(QUANTISED_OPERATORS),
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # the quantiser appends its nodes at the end, which ONNX forbids
    return quantizer.model.model


def preprocessing_nodes(model: ModelProto) -> frozenset[str]:
    """Return the names of the nodes between the picture and the network: normalisation, which stays float."""
    reached, names = {"image_nhwc"}, set()
    for node in model.graph.node:
        if node.op_type in PREPROCESSING_OPERATORS and node.input[0] in reached:
            names.add(node.name)
            reached.update(node.output)
    return frozenset(names)


def compose_model(features: ModelProto, tail: ModelProto, name: str) -> ModelProto:
    """Return ``features`` followed by ``tail`` (feature map → probabilities) as one graph."""
    prefixed = onnx.compose.add_prefix(tail, "head.", rename_inputs=False, rename_outputs=False)
    trunk = onnx.compose.add_prefix(features, "features.", rename_inputs=False, rename_outputs=False)
    merged = onnx.compose.merge_models(trunk, prefixed, io_map=[("feature_map", "feature_map")])
    return clean(merged, name)


def load(path: Path) -> ModelProto:
    """Read an ONNX file."""
    return onnx.load(path)
