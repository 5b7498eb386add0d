"""What ``bench --peers`` measures of other engines: the same model and image on the same machine.

Engines that only this comparison uses are imported by name where they are installed and left out where they are not;
nothing here is needed to classify an image.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.bench.timing import time_in_turns
from edge_runtime.bundle.manifest import Manifest, read_manifest
from edge_runtime.captured_output import captured_output
from edge_runtime.classifier import Classifier
from edge_runtime.engines import installed_engines, variant_read_by
from edge_runtime.imaging.preprocessing import load_image_hwc


def measure_peers(bundle: Path, jpeg: bytes, threads: int, rounds: int) -> dict[str, float]:
    """Return milliseconds of this runtime from JPEG to prediction, and of other engines on a ready tensor, in turns.

    With a bundle that has no whole-network graphs the others run its backbones: all but the last layer.
    """
    manifest = read_manifest(bundle)
    image_nhwc = load_image_hwc(jpeg, manifest.input.size)[np.newaxis]
    calls: dict[str, Callable[[], object]] = {}
    for engine in installed_engines():
        if variant_read_by(engine, "int8") in manifest.variants:
            classifier = Classifier.load(bundle, engine=engine, threads=threads)
            calls[f"dermedge {engine} int8, JPEG → prediction"] = partial(classifier.predict, jpeg)
            calls[f"dermedge {engine} int8, JPEG → prediction and heat map"] = partial(
                classifier.predict, jpeg, explain=True
            )
    for make in (_onnxruntime_calls, _litert_calls, _openvino_calls, _ncnn_calls, _torch_calls):
        try:
            calls.update(make(bundle, manifest, threads, image_nhwc))
        except Exception as error:  # a peer that is missing or fails must not end the bench
            print(f"left out: {make.__name__.strip('_')}: {str(error).splitlines()[0]}", file=sys.stderr)
    return time_in_turns(calls, rounds)


def _network_files(bundle: Path, manifest: Manifest, file_format: str) -> dict[str, Path]:
    """Return the file to compare, by precision: the whole network where the bundle has it, else the backbone."""
    found = {}
    for precision in ("int8", "fp32"):
        variant = manifest.variants.get(f"{file_format}-{precision}")
        if variant is not None:
            found[precision] = bundle / (variant.model or variant.features)
    return found


def _onnxruntime_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    onnxruntime = import_module("onnxruntime")
    calls: dict[str, Callable[[], object]] = {}
    for precision, path in _network_files(bundle, manifest, "onnx").items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        calls[f"onnxruntime {precision}, bare"] = partial(session.run, None, {"image_nhwc": image})
    return calls


def _litert_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    interpreter_class = import_module("ai_edge_litert.interpreter").Interpreter
    calls: dict[str, Callable[[], object]] = {}
    for precision, path in _network_files(bundle, manifest, "tflite").items():
        interpreter = interpreter_class(str(path), num_threads=threads)
        interpreter.allocate_tensors()
        index = interpreter.get_input_details()[0]["index"]
        output = interpreter.get_output_details()[0]["index"]

        def call(interpreter: Any = interpreter, index: int = index, output: int = output) -> object:
            interpreter.set_tensor(index, image)
            interpreter.invoke()
            return interpreter.get_tensor(output)

        calls[f"LiteRT {precision}, bare"] = call
    return calls


def _openvino_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    core = import_module("openvino").Core()
    calls: dict[str, Callable[[], object]] = {}
    for precision, path in _network_files(bundle, manifest, "onnx").items():
        model = core.read_model(path)
        model.reshape(list(image.shape))
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        calls[f"OpenVINO {precision}, bare"] = partial(request.infer, {"image_nhwc": image})
    return calls


def _ncnn_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    """ncnn reads neither format: convert a ResNet18 once, with torchvision and pnnx."""
    ncnn, pnnx, torch = import_module("ncnn"), import_module("pnnx"), import_module("torch")
    if manifest.architecture != "resnet18":
        raise ValueError(f"compared on resnet18 only, not {manifest.architecture}")
    model = import_module("torchvision").models.resnet18(num_classes=len(manifest.classes)).eval()
    image_chw = np.ascontiguousarray(image[0].transpose(2, 0, 1), dtype=np.float32) / 255
    with tempfile.TemporaryDirectory() as folder, captured_output(1, 2):
        path = Path(folder) / "resnet18.pt"
        pnnx.export(model, str(path), torch.from_numpy(image_chw[np.newaxis]), fp16=False)
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.load_param(str(path.with_suffix(".ncnn.param")))
        net.load_model(str(path.with_suffix(".ncnn.bin")))

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image_chw))
        return np.array(extractor.extract("out0")[1])

    return {"ncnn fp32, bare": call}


def _torch_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    """PyTorch with pytorch-grad-cam on a ResNet18; its weights do not change its time."""
    torch = import_module("torch")
    grad_cam = import_module("pytorch_grad_cam")
    if manifest.architecture != "resnet18":
        raise ValueError(f"compared on resnet18 only, not {manifest.architecture}")
    torch.set_num_threads(threads)
    model = import_module("torchvision").models.resnet18(num_classes=len(manifest.classes)).eval()
    image_nchw = torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    explainer = grad_cam.GradCAM(model=model, target_layers=[model.layer4[-1]])

    def forward() -> object:
        with torch.inference_mode():
            return model(image_nchw)

    return {
        "PyTorch fp32, bare": forward,
        "PyTorch fp32 + pytorch-grad-cam": lambda: explainer(input_tensor=image_nchw, targets=None),
    }
