"""The outside yardsticks of ``bench --plain FOLDER``: plain networks of each engine's own tools, timed beside ours.

``python -m tools.plain_networks`` writes the folder. A plain network takes a float image that is already normalised and
returns logits: what an engine needs for a ResNet18 when nobody adds anything.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.bench.timing import time_in_turns
from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.engines import installed_engines, variant_read_by
from edge_runtime.errors import EngineError
from edge_runtime.imaging.preprocessing import load_image_hwc

ONNXRUNTIME_NAME = "onnxruntime.int8.onnx"
LITERT_NAME = "litert.int8.tflite"
OPENVINO_NAME = "openvino.int8.xml"
NCNN_NAME = "ncnn.fp16.param"
GEMM_NAME = "gemm.int8.onnx"
GEMM_SIZE = 1024
"""Rows and columns of both int8 matrices: large enough to be bound by compute, small enough for the cache."""

RESNET18_MULTIPLY_ADDS = 1.82e9
"""Of one image of 224×224 pixels (torchvision's table: 1.81 G, without the last layer)."""

Call = Callable[[], object]


def measure_plain(bundle: Path, folder: Path, jpeg: bytes, threads: int, rounds: int) -> dict[str, Any]:
    """Return milliseconds of our chains and pipelines and of the plain networks in ``folder``, all in turns.

    Raises :class:`EngineError` for a bundle of another architecture or a folder without networks.
    """
    manifest = read_manifest(bundle)
    if manifest.architecture != "resnet18":
        raise EngineError(f"{bundle}: expected a resnet18 to compare with plain ones, found {manifest.architecture}")
    image = load_image_hwc(jpeg, manifest.input.size)[np.newaxis]
    normalised = np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32) / 64 - 2
    calls: dict[tuple[str, str], Call] = {}
    for engine in installed_engines():
        if variant_read_by(engine, "int8") in manifest.variants:
            classifier = Classifier.load(bundle, engine=engine, threads=threads)
            calls["chain", engine] = partial(_chain, classifier, image)
            calls["JPEG", engine] = partial(classifier.predict, jpeg)
            calls["pipeline", engine] = partial(classifier.predict, jpeg, explain=True)
    makers = {
        ("plain", "onnxruntime"): _onnxruntime, ("plain", "LiteRT"): _litert, ("plain", "OpenVINO"): _openvino,
        ("plain", "ncnn"): _ncnn, ("gemm", "onnxruntime"): _gemm,
    }  # fmt: skip
    for key, make in makers.items():
        try:
            calls[key] = make(folder, normalised, threads)
        except Exception as error:  # an engine that is missing must not end the bench
            print(f"left out: {' '.join(key)}: {str(error).splitlines()[0]}", file=sys.stderr)
    try:
        calls["pipeline", "script"] = _script(folder, jpeg, threads)
    except Exception as error:
        print(f"left out: script: {str(error).splitlines()[0]}", file=sys.stderr)
    if not any(kind == "plain" for kind, _ in calls):
        raise EngineError(f"{folder}: expected networks of `python -m tools.plain_networks`, found none")
    timings = time_in_turns(calls, rounds)
    tree: dict[str, Any] = {}
    for (kind, name), milliseconds in timings.items():
        tree.setdefault(kind, {})[name] = milliseconds
    if "gemm" in tree:
        peak = GEMM_SIZE**3 / tree.pop("gemm")["onnxruntime"]  # multiply-adds per millisecond
        tree["floor"] = {"milliseconds": RESNET18_MULTIPLY_ADDS / peak, "giga_multiply_adds_per_second": peak / 1e6}
    return tree


def _chain(classifier: Classifier, image: Any) -> object:
    """Run what a prediction needs of the graphs, without decoding, scaling or softmax."""
    (feature_map,) = classifier._features({"image_nhwc": image}).values()
    return classifier._head({"feature_map": feature_map})


def _onnxruntime(folder: Path, image: Any, threads: int) -> Call:
    session = _session(folder / ONNXRUNTIME_NAME, threads)
    return partial(session.run, None, {"image": image})


def _gemm(folder: Path, image: Any, threads: int) -> Call:
    session = _session(folder / GEMM_NAME, 1)
    matrix = np.random.default_rng(0).integers(0, 256, (GEMM_SIZE, GEMM_SIZE), dtype=np.uint8)
    return partial(session.run, None, {"a": matrix})


def _session(path: Path, threads: int) -> Any:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _litert(folder: Path, image: Any, threads: int) -> Call:
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(
        str(folder / LITERT_NAME), num_threads=threads
    )
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    tensor = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    if source["dtype"] != np.float32:
        scale, zero_point = source["quantization"]
        tensor = np.clip(np.rint(tensor / scale) + zero_point, -128, 127).astype(source["dtype"])

    def call() -> object:
        interpreter.set_tensor(source["index"], tensor)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return call


def _openvino(folder: Path, image: Any, threads: int) -> Call:
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    core = import_module("openvino").Core()
    request = core.compile_model(folder / OPENVINO_NAME, "CPU", settings).create_infer_request()
    return partial(request.infer, {0: image})


def _ncnn(folder: Path, image: Any, threads: int) -> Call:
    ncnn = import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = threads
    path = folder / NCNN_NAME
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise EngineError(f"{path}: cannot be loaded")
    image_chw = np.ascontiguousarray(image[0])

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image_chw))
        return np.array(extractor.extract("out0")[1])

    return call


def _script(folder: Path, jpeg: bytes, threads: int) -> Call:
    """Return what a user would write: Pillow, torchvision, onnxruntime for the label, pytorch-grad-cam for the map."""
    torch, torchvision = import_module("torch"), import_module("torchvision")
    grad_cam, targets = import_module("pytorch_grad_cam"), import_module("pytorch_grad_cam.utils.model_targets")
    transforms = import_module("torchvision.transforms.v2")
    torch.set_num_threads(threads)
    session = _session(folder / ONNXRUNTIME_NAME, threads)
    model = torchvision.models.resnet18(num_classes=7).eval()
    explainer = grad_cam.GradCAM(model=model, target_layers=[model.layer4[-1]])
    prepare = transforms.Compose(
        [
            transforms.PILToTensor(),
            transforms.Resize((224, 224), antialias=True),
            transforms.ToDtype(torch.float32, scale=True),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    def call() -> object:
        image = prepare(Image.open(io.BytesIO(jpeg)).convert("RGB"))[None]
        (logits,) = session.run(None, {"image": image.numpy()})
        target = targets.ClassifierOutputTarget(int(logits.argmax()))
        return logits, explainer(input_tensor=image, targets=[target])

    return call
