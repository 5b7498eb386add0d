"""A convolution made to saturate, run by onnxruntime on this CPU and compared with exact integers.

    python tests/instruction_sets/saturation.py

Prints ``{"eight_bits": share, "seven_bits": share}``: by how much of the right sum the worst output is wrong, with
weights of ±127 and with those of ±64 that exported files keep to. Without VNNI, x86 adds two neighbouring products in
16 bits, and 2 · 255 · 127 does not fit. It shows that an emulated CPU does what the real one would get wrong.
"""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

CHANNELS, SIDE, KERNEL = 64, 8, 3


def convolution(weight: int) -> bytes:
    """Return a ``QLinearConv`` of uint8 images with int8 weights that are all ``weight``, with uint8 output."""
    kernel = np.full((16, CHANNELS, KERNEL, KERNEL), weight, np.int8)
    full = 255 * weight * CHANNELS * KERNEL**2
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [full / 250]),  # the largest sum is level 250
        helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
        helper.make_tensor("signed_zero", TensorProto.INT8, [], [0]),
        helper.make_tensor("kernel", TensorProto.INT8, kernel.shape, kernel.tobytes(), raw=True),
    ]
    names = ["x", "one", "zero", "kernel", "one", "signed_zero", "scale", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", names, ["y"])],
        "saturation",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, CHANNELS, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def worst_error(weight: int) -> float:
    """Return how far the worst output is from the exact one, as a share of the exact one."""
    session = onnxruntime.InferenceSession(convolution(weight), providers=["CPUExecutionProvider"])
    white = np.full((1, CHANNELS, SIDE, SIDE), 255, np.uint8)
    found = session.run(["y"], {"x": white})[0].astype(int)  # all sums are the largest there can be: level 250
    return float(np.abs(found - 250).max() / 250)


if __name__ == "__main__":
    print(json.dumps({"eight_bits": worst_error(127), "seven_bits": worst_error(64)}))
