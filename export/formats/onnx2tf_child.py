"""ONNX files → fp32 TFLite files through onnx2tf, in onnx2tf's own environment: this file imports nothing of ours.

    .venv-onnx2tf/bin/python onnx2tf_child.py FOLDER

converts every ``FOLDER/<role>.onnx`` (batch 1) into ``FOLDER/<role>.tflite``, whose default signature has the ONNX
file's names. What is channels first there, images and feature maps, is channels last here: onnx2tf's own way.
``FOLDER/sample.npy``, float32 [20,128,128,3] in 0..1, stands for the sample that onnx2tf downloads where
it finds none; the network is cut off before onnx2tf is loaded.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""The file that onnx2tf looks for in its working folder before it asks the network for it."""


def main(folder: Path) -> None:
    """Convert the folder's files one after the other."""
    cut_off_the_network()
    with tempfile.TemporaryDirectory() as working_folder:
        os.chdir(working_folder)
        Path(SAMPLE_NAME).symlink_to(folder / "sample.npy")
        for source in sorted(folder.glob("*.onnx")):
            source.with_suffix(".tflite").write_bytes(convert(source))


def cut_off_the_network() -> None:
    """Make every connection fail at once, with a line that says so."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("an export never uses the network")

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, refuse)
    socket.create_connection = socket.getaddrinfo = refuse


def convert(source: Path) -> bytes:
    """Return one ONNX file as a TFLite file: onnx2tf's Keras model in fp32, with the inputs' and outputs' names."""
    import onnx
    import onnx2tf
    import tensorflow

    graph = onnx.shape_inference.infer_shapes(onnx.load(source))
    outputs = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in graph.graph.output
    }
    model = onnx2tf.convert(
        onnx_graph=graph,
        not_use_onnxsim=True,  # nothing is left to simplify
        disable_strict_mode=True,  # it runs every operator to search its axes; the export's gate checks the whole
        disable_model_save=True,
        non_verbose=True,
    )

    module = tensorflow.Module()
    module.network = model
    specifications = [tensorflow.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]

    @tensorflow.function(input_signature=specifications)
    def run(*tensors: Any) -> Any:
        values = model(list(tensors))
        values = values if isinstance(values, list | tuple) else [values]
        return {name: channels_last(value, outputs[name]) for name, value in zip(outputs, values, strict=True)}

    def channels_last(value: Any, channels_first: list[int]) -> Any:
        """Undo onnx2tf's transposition to ONNX's order behind a last sum with ReLU, as in ResNets; both cancel."""
        transposed = value.shape.as_list() == channels_first and len(channels_first) == 4
        if transposed and channels_first[1] != channels_first[3]:
            return tensorflow.transpose(value, (0, 2, 3, 1))
        return value

    module.run = run
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], module)
    return bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
