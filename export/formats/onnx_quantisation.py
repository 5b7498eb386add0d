"""fp32 ONNX → int8 (QDQ) and fp16.

Int8 graphs hold unsigned 8-bit activations and signed weights, one scale per output channel. Unsigned because that is
what x86 multiplies fast; the weights come from :mod:`export.int8.weight_rounding`, which keeps pairs of them small
enough that no CPU saturates, so the prediction is the same on every one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel

from export.formats.converter_output import capture_output
from export.formats.onnx_image_input import image_ranges, with_quantised_image
from export.int8.activation_ranges import Range, TensorStatistics
from export.int8.weight_rounding import RoundedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTISED_OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "HardSigmoid", "MaxPool", "Mul",
    "Relu", "Sigmoid",
)  # fmt: skip
"""Operators that onnxruntime computes in int8. Others pass a tensor on or stay float."""

PREPROCESSING_OPERATORS = ("Cast", "Sub", "Mul", "Transpose")


def record_statistics(model: ModelProto, images: Iterable[NDArray[np.uint8]]) -> dict[str, TensorStatistics]:
    """Run the float graph on images of shape (S, S, 3) and return what its float tensors looked like."""
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


def quantise_int8(
    model: ModelProto,
    ranges: dict[str, Range],
    weights: dict[str, RoundedWeights],
    float_nodes: frozenset[str] = frozenset(),
) -> ModelProto:
    """Return the int8 graph of a float ``features`` graph; after
    :func:`~export.formats.onnx_image_input.with_centred_image` its first convolution reads the image's own bytes.

    ``weights`` holds the rounded weights of every convolution by node name; ``float_nodes`` stay float.
    """
    model = _with_changed_biases(model, {name: rounded for name, rounded in weights.items() if name not in float_nodes})
    names = {node.name: node.input[1] for node in model.graph.node if node.name in weights}
    preprocessing = preprocessing_nodes(model)
    ranges = ranges | image_ranges(model)
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
            reduce_range=False,  # the scales given below take care of that
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=nodes,
            nodes_to_exclude=sorted(preprocessing | float_nodes),
            op_types_to_quantize=list(QUANTISED_OPERATORS),
            extra_options={
                "ActivationSymmetric": False,
                "WeightSymmetric": True,
                "QDQDisableWeightAdjustForInt32Bias": True,
                "TensorQuantOverrides": {names[node]: _scale_overrides(rounded) for node, rounded in weights.items()},
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # the quantiser appends its nodes at the end, which ONNX forbids
    quantised: ModelProto = quantizer.model.model
    stored = {tensor.name: tensor for tensor in quantised.graph.initializer}
    for node, rounded in weights.items():
        if node not in float_nodes:
            name = f"{names[node]}_quantized"
            stored[name].CopyFrom(numpy_helper.from_array(rounded.levels, name))
    return with_quantised_image(quantised)


def _scale_overrides(rounded: RoundedWeights) -> list[dict[str, Any]]:
    zero_point = np.array(0, np.int8)
    return [
        {"axis": 0, "scale": np.array(scale, np.float32), "zero_point": zero_point, "quant_type": QuantType.QInt8}
        for scale in rounded.scales
    ]


def _with_changed_biases(model: ModelProto, weights: dict[str, RoundedWeights]) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        if node.name in weights and len(node.input) > 2:
            bias = stored[node.input[2]]
            values = numpy_helper.to_array(bias) + weights[node.name].bias_change
            bias.CopyFrom(numpy_helper.from_array(values.astype(np.float32), bias.name))
    return changed


def to_fp16(model: ModelProto) -> ModelProto:
    """Return a ``features`` graph whose network is half precision; normalisation, inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings(), capture_output("fp16 conversion"):
        warnings.simplefilter("ignore")
        half: ModelProto = convert_float_to_float16(
            onnx.shape_inference.infer_shapes(model),
            keep_io_types=True,
            disable_shape_infer=True,
            node_block_list=sorted(preprocessing_nodes(model)),
        )
    _restore_constants(half, model)
    wrapped = ONNXModel(half)
    wrapped.topological_sort()
    return half


def _restore_constants(half: ModelProto, original: ModelProto) -> None:
    """Give nodes that stay float32 their float32 constants back, which the converter halves and casts up again."""
    constants = {tensor.name: tensor for tensor in original.graph.initializer}
    halved = {tensor.name for tensor in half.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    casts = [node for node in half.graph.node if node.op_type == "Cast" and node.input[0] in halved]
    for cast in casts:
        name = f"{cast.input[0]}.float32"
        tensor = half.graph.initializer.add()
        tensor.CopyFrom(constants[cast.input[0]])
        tensor.name = name
        for node in half.graph.node:
            node.input[:] = [name if value == cast.output[0] else value for value in node.input]
        half.graph.node.remove(cast)
    used = {value for node in half.graph.node for value in node.input}
    for tensor in [tensor for tensor in half.graph.initializer if tensor.name not in used]:
        half.graph.initializer.remove(tensor)


def preprocessing_nodes(model: ModelProto) -> frozenset[str]:
    """Return the names of the nodes between the image and the network: normalisation, which is never quantised."""
    reached, names = {"image_nhwc"}, set()
    for node in model.graph.node:
        if node.op_type in PREPROCESSING_OPERATORS and node.input[0] in reached:
            names.add(node.name)
            reached.update(node.output)
    return frozenset(names)
