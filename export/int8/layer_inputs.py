"""What each convolution of a float ONNX graph sees on calibration images: patches of its input.

With their moments the error of rounding a layer's weights can be made small without running the layer again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, NodeProto, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = 48
PATCHES_PER_IMAGE = 48
DAMPING = 0.01
"""Share of the mean diagonal that is added to the second moment: a few thousand patches do not know all directions."""


@dataclass(frozen=True)
class LayerInputs:
    """A convolution's float weight [O,I/G,kh,kw] and patches of its input, float32 [G,P,K] with K = I/G·kh·kw."""

    weight: NDArray[np.float32]
    groups: int
    patches: NDArray[np.float32]

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean patch, [G,K]."""
        return self.patches.mean(axis=1, dtype=np.float64)

    @cached_property
    def moment_factors(self) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """By group: an order of the K inputs, strongest first, and the upper Cholesky factor [K,K] of the inverse of
        their damped second moment in that order."""
        factors = []
        for patches in self.patches:
            rows = torch.from_numpy(patches)
            moment = rows.T @ rows
            diagonal = moment.diagonal()
            moment = moment + torch.diag(DAMPING * diagonal.mean() + (diagonal <= 0).float())
            order = torch.argsort(moment.diagonal(), descending=True, stable=True)
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment[order][:, order]))
            factors.append((order.numpy(), torch.linalg.cholesky(inverse, upper=True).numpy()))
        return factors


def record_layer_inputs(model: ModelProto, images: NDArray[np.uint8]) -> dict[str, LayerInputs]:
    """Run the float graph on the first images of [N,S,S,3] and return what every convolution saw, by node name."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
    patches: dict[str, list[NDArray[np.float32]]] = {node.name: [] for node in nodes}
    names = list(dict.fromkeys(node.input[0] for node in nodes))
    probed = ModelProto()
    probed.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    probed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    for image in images[:IMAGES]:
        values = dict(zip(names, session.run(names, {"image_nhwc": image[np.newaxis]}), strict=True))
        for node in nodes:
            kernel = weights[node.input[1]].shape[2:]
            patches[node.name].append(_patches(node, kernel, values[node.input[0]][0], generator))
    return {
        node.name: LayerInputs(
            weights[node.input[1]], int(_attribute(node, "group", 1)), np.concatenate(patches[node.name], axis=1)
        )
        for node in nodes
    }


def _patches(
    node: NodeProto, kernel: tuple[int, ...], values: NDArray[np.float32], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return some patches [G,P,K] of one image's input [C,H,W]."""
    groups = int(_attribute(node, "group", 1))
    pads = _attribute(node, "pads", [0, 0, 0, 0])
    strides = _attribute(node, "strides", [1, 1])
    dilations = _attribute(node, "dilations", [1, 1])
    padded = np.pad(values, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    reach = [dilation * (side - 1) + 1 for dilation, side in zip(dilations, kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    rows, columns = windows.shape[1:3]
    chosen = generator.choice(rows * columns, min(rows * columns, PATCHES_PER_IMAGE), replace=False)
    patches = windows[:, chosen // columns, chosen % columns]  # [C, P, kh, kw]
    return np.ascontiguousarray(patches.transpose(1, 0, 2, 3).reshape(len(chosen), groups, -1).transpose(1, 0, 2))


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default
