"""The image's way into an int8 graph: its bytes are levels already, so nothing is normalised in float.

A uint8 image is a quantised tensor of scale 1 and any zero point. With the standard deviation in the first
convolution's weights and the mean in its bias, the convolution reads the bytes themselves. Padding is the zero point,
one number for the three channels, where training padded with each channel's mean: :data:`CENTRE` is the nearest level
to all three, at most 0.19 standard deviations away, in the padding alone. Ranges and rounding are found with that
padding. A network that does not begin with a convolution keeps its normalisation in float.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_runtime.imaging.preprocessing import IMAGENET_MEAN

if TYPE_CHECKING:
    from export.int8.activation_ranges import Range

CENTRE = round(255 * float(np.mean(IMAGENET_MEAN)))
"""The level that stands for zero, and what padding is filled with: 114."""

IMAGE = "image_nhwc"


@dataclass(frozen=True)
class _Entrance:
    """The nodes from the image to the first convolution of a float graph, and the constants they use."""

    subtract: NodeProto
    transpose: NodeProto
    convolution: NodeProto
    mean: TensorProto
    weight: TensorProto
    bias: TensorProto | None


def with_centred_image(model: ModelProto) -> ModelProto:
    """Return a float graph that subtracts :data:`CENTRE` from every channel and makes up for it in the first bias.

    The function is the same but for the padding. A graph that does not begin with a convolution is returned as it is.
    """
    centred = ModelProto()
    centred.CopyFrom(model)
    entrance = _find_entrance(centred)
    if entrance is None:
        return model
    mean = numpy_helper.to_array(entrance.mean).reshape(-1).astype(np.float64)
    weight = numpy_helper.to_array(entrance.weight).astype(np.float64)
    change = weight.sum((2, 3)) @ (CENTRE - mean)
    if entrance.bias is None:  # exporters leave out a bias of zeros
        entrance.convolution.input.append(f"{entrance.convolution.name}.bias")
        centred.graph.initializer.append(
            numpy_helper.from_array(change.astype(np.float32), entrance.convolution.input[2])
        )
    else:
        bias = (numpy_helper.to_array(entrance.bias) + change).astype(np.float32)
        entrance.bias.CopyFrom(numpy_helper.from_array(bias, entrance.bias.name))
    centre = np.full(entrance.mean.dims, CENTRE, np.float32)
    entrance.mean.CopyFrom(numpy_helper.from_array(centre, entrance.mean.name))
    return centred


def image_ranges(model: ModelProto) -> dict[str, Range]:
    """Return the ranges of a centred image's tensors, which make every level a pixel's value; else nothing."""
    entrance = _find_entrance(model)
    if entrance is None or not (numpy_helper.to_array(entrance.mean) == CENTRE).all():
        return {}
    return dict.fromkeys((entrance.subtract.output[0], entrance.transpose.output[0]), (-CENTRE, 255 - CENTRE))


def with_quantised_image(quantised: ModelProto) -> ModelProto:
    """Return a quantised graph whose first convolution reads the image's bytes instead of bytes made from floats.

    A graph whose image is not quantised by the scale 1 is returned as it is.
    """
    path = _follow(quantised, "Cast", "Sub", "Transpose", "QuantizeLinear")
    if path is None:
        return quantised
    transpose, quantise = path[2:]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    if stored[quantise.input[1]] != 1 or stored[quantise.input[2]] != CENTRE:
        return quantised
    transpose.input[0], transpose.output[0] = IMAGE, quantise.output[0]
    for node in path:
        if node is not transpose:
            quantised.graph.node.remove(node)
    used = {name for node in quantised.graph.node for name in node.input}
    for tensor in [tensor for tensor in quantised.graph.initializer if tensor.name not in used]:
        quantised.graph.initializer.remove(tensor)
    return quantised


def _find_entrance(model: ModelProto) -> _Entrance | None:
    path = _follow(model, "Cast", "Sub", "Transpose", "Conv")
    if path is None:
        return None
    _, subtract, transpose, convolution = path
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    names = (subtract.input[1], *convolution.input[1:])
    if not all(name in stored and readers[name] == 1 for name in names):
        return None
    mean, weight, *bias = (stored[name] for name in names)
    if weight.dims[1] != mean.dims[-1]:  # in groups
        return None
    return _Entrance(subtract, transpose, convolution, mean, weight, bias[0] if bias else None)


def _follow(model: ModelProto, *operators: str) -> list[NodeProto] | None:
    """Return the nodes of the given kinds that lead from the image on, each the only reader of the one before."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type != "Shape":  # of the image, for its batch
            for name in node.input:
                readers.setdefault(name, []).append(node)
    name, path = IMAGE, []
    for operator in operators:
        nodes = readers.get(name, [])
        if len(nodes) != 1 or nodes[0].op_type != operator:
            return None
        path.append(nodes[0])
        name = nodes[0].output[0]
    return path
