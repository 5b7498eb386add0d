"""What the bench compares itself with: a plain ResNet18 for each engine, made by the tools that engine's users take.

    python -m tools.plain_networks --output build/plain-networks   (make bench does it)

torchvision's ResNet18 with random weights (the time of a dense network does not depend on them) becomes an int8 file of
onnxruntime's own static quantiser, one of ai-edge-quantizer, one of nncf for OpenVINO, and one for ncnn. Their inputs
are float and already normalised: none of them does what this project's graphs do beside the network. A product of two
int8 matrices is added, for the compute floor. ``python -m edge_runtime bench --plain FOLDER`` reads the folder.
Tools that are not installed are left out (``requirements/bench.txt``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.bench.plain import (
    GEMM_NAME,
    GEMM_SIZE,
    LITERT_NAME,
    NCNN_NAME,
    ONNXRUNTIME_NAME,
    OPENVINO_NAME,
)
from edge_runtime.captured_output import captured_output

SIZE = 224
CALIBRATION_IMAGES = 16
_FLOAT_ONNX = "float.onnx"


def calibration_images() -> Iterator[np.ndarray]:
    """Yield normalised images float32 [1,3,224,224]; noise is enough where only the time matters."""
    generator = np.random.default_rng(0)
    for _ in range(CALIBRATION_IMAGES):
        yield generator.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)


def write_onnxruntime(model: Any, folder: Path) -> None:
    """Write the QDQ file of onnxruntime's static quantiser: uint8 activations, int8 weights per channel."""
    onnxruntime_quantisation = import_module("onnxruntime.quantization")
    preprocess = import_module("onnxruntime.quantization.shape_inference").quant_pre_process

    class Reader(onnxruntime_quantisation.CalibrationDataReader):  # type: ignore[misc, name-defined]
        images = calibration_images()

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image}

    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "prepared.onnx"
        preprocess(str(folder / _FLOAT_ONNX), str(prepared))
        onnxruntime_quantisation.quantize_static(
            str(prepared),
            str(folder / ONNXRUNTIME_NAME),
            Reader(),
            quant_format=onnxruntime_quantisation.QuantFormat.QDQ,
            activation_type=onnxruntime_quantisation.QuantType.QUInt8,
            weight_type=onnxruntime_quantisation.QuantType.QInt8,
            per_channel=True,
        )


def write_litert(model: Any, folder: Path) -> None:
    """Write ai-edge-quantizer's static int8 file with its stock recipe and minimum and maximum as ranges."""
    torch, litert_torch = import_module("torch"), import_module("litert_torch")
    quantizer_module = import_module("ai_edge_quantizer.quantizer")
    recipe = import_module("ai_edge_quantizer.recipe")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "float.tflite"
        channels_last = litert_torch.to_channel_last_io(model, args=[0])
        litert_torch.convert(channels_last, (torch.zeros(1, SIZE, SIZE, 3),)).export(str(path))
        quantizer = quantizer_module.Quantizer(str(path), recipe.static_wi8_ai8())
        interpreter = import_module("ai_edge_litert.interpreter").Interpreter(str(path))
        signature = next(iter(interpreter.get_signature_list()))
        (argument,) = interpreter.get_signature_list()[signature]["inputs"]
        images = [{argument: image.transpose(0, 2, 3, 1)} for image in calibration_images()]
        result = quantizer.quantize(quantizer.calibrate({signature: images}))
        (folder / LITERT_NAME).write_bytes(bytes(result.quantized_model))


def write_openvino(model: Any, folder: Path) -> None:
    """Write nncf's int8 network as OpenVINO's own files."""
    openvino, nncf = import_module("openvino"), import_module("nncf")
    network = openvino.Core().read_model(folder / _FLOAT_ONNX)
    openvino.save_model(nncf.quantize(network, nncf.Dataset(list(calibration_images()))), folder / OPENVINO_NAME)


def write_ncnn(model: Any, folder: Path) -> None:
    """Write ncnn's network, weights in half precision; its int8 quantiser is not among its Python packages."""
    torch, pnnx = import_module("torch"), import_module("pnnx")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "resnet18.pt"
        pnnx.export(model, str(path), torch.zeros(1, 3, SIZE, SIZE), fp16=True)
        for suffix in (".ncnn.param", ".ncnn.bin"):
            shutil.copyfile(path.with_suffix(suffix), folder / Path(NCNN_NAME).with_suffix(Path(suffix).suffix))


def write_gemm(model: Any, folder: Path) -> None:
    """Write a product of two matrices, uint8 times constant int8, with sums in int32."""
    onnx = import_module("onnx")
    weights = np.random.default_rng(0).integers(-64, 65, (GEMM_SIZE, GEMM_SIZE), dtype=np.int8)
    shape = [GEMM_SIZE, GEMM_SIZE]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["a", "b"], ["product"])],
        "gemm",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, shape)],
        [onnx.helper.make_tensor_value_info("product", onnx.TensorProto.INT32, shape)],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, folder / GEMM_NAME)


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ONNXRUNTIME_NAME: write_onnxruntime,
    LITERT_NAME: write_litert,
    OPENVINO_NAME: write_openvino,
    NCNN_NAME: write_ncnn,
    GEMM_NAME: write_gemm,
}


def write_networks(folder: Path) -> list[str]:
    """Write what is not there yet and return the names of what could not be written, with the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in WRITERS if not (folder / name).exists()]
    if not missing:
        return []
    torch = import_module("torch")
    torch.manual_seed(0)
    model = import_module("torchvision").models.resnet18(num_classes=7).eval()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        image = torch.zeros(1, 3, SIZE, SIZE)
        with warnings.catch_warnings(), captured_output(1, 2):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model, (image,), work / _FLOAT_ONNX, dynamo=True, opset_version=18, external_data=False,
                input_names=["image"], verbose=False,
            )  # fmt: skip
        left_out = []
        for network in missing:
            try:
                with warnings.catch_warnings(), captured_output(1, 2):
                    warnings.simplefilter("ignore")
                    WRITERS[network](model, work)
            except Exception as error:  # whatever a tool of others raises: the rest is compared without it
                left_out.append(f"{network}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        for path in sorted(work.iterdir(), reverse=True):  # .xml after .bin: a network that is there is whole
            if path.name != _FLOAT_ONNX and path.is_file():
                path.replace(folder / path.name)
    return left_out


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.plain_networks", description=(__doc__ or "").split("\n")[0])
    default = Path("build/plain-networks")
    parser.add_argument("--output", type=Path, default=default, metavar="FOLDER", help=f"where (default: {default})")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the networks that are missing in the folder."""
    options = build_parser().parse_args(arguments)
    for reason in write_networks(options.output):
        print(f"left out: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
