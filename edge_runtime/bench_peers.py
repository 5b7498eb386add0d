"""What ``bench --peers`` adds: the same model in other people's hands, cold start and memory, and folder mode.

Engines that only this comparison uses are imported by name where they are installed and left out where they are not;
nothing here is needed to classify a picture.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from edge_runtime.backends import installed_engines
from edge_runtime.bench_scripts import COLD_START_SCRIPTS, LAUNCHER
from edge_runtime.classifier import Classifier, available_processors
from edge_runtime.command_bench import lower_quartile, synthetic_jpeg, time_in_turns
from edge_runtime.errors import EngineError
from edge_runtime.manifest import Manifest, read_manifest
from edge_runtime.preprocessing import load_image_hwc

COLD_BAR, MEMORY_BAR, FOLDER_BAR = 1.5, 1.25, 0.9
_COLD_ROUNDS = 7
_FOLDER_PICTURES = 160


def measure_peers(bundle: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Return milliseconds of other engines and of this runtime in turns, cold starts, and folder throughput."""
    manifest = read_manifest(bundle)
    jpeg = synthetic_jpeg(600, 450)
    image_nhwc = load_image_hwc(jpeg, manifest.input.size)[np.newaxis]
    calls: dict[str, Callable[[], object]] = {}
    for engine in installed_engines():
        classifier = Classifier.load(bundle, engine=engine, threads=threads)
        calls[f"dermedge {engine} int8, JPEG → answer"] = partial(classifier.predict, jpeg)
        calls[f"dermedge {engine} int8, JPEG → answer and map"] = partial(classifier.predict, jpeg, explain=True)
    for make in (_onnxruntime_calls, _litert_calls, _openvino_calls, _ncnn_calls, _torch_calls):
        try:
            calls.update(make(bundle, manifest, threads, image_nhwc))
        except Exception as error:  # a peer that is missing or fails here must not end the bench
            print(f"left out: {make.__name__.strip('_')}: {str(error).splitlines()[0]}", file=sys.stderr)
    return {
        "milliseconds": time_in_turns(calls, rounds),
        "cold": measure_cold_starts(bundle, jpeg),
        "folder": measure_folder(bundle, jpeg),
    }


def _whole_network(bundle: Path, manifest: Manifest, variant: str) -> Path:
    file = manifest.variants[variant].model if variant in manifest.variants else None
    if file is None:
        raise EngineError(f"the bundle has no whole-network graph of {variant}")
    return bundle / file


def _onnxruntime_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    onnxruntime = import_module("onnxruntime")
    calls: dict[str, Callable[[], object]] = {}
    for precision in ("int8", "fp32"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = _whole_network(bundle, manifest, f"onnx-{precision}")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        calls[f"onnxruntime {precision}, bare"] = partial(session.run, None, {"image_nhwc": image})
    return calls


def _litert_calls(bundle: Path, manifest: Manifest, threads: int, image: Any) -> dict[str, Callable[[], object]]:
    interpreter_class = import_module("ai_edge_litert.interpreter").Interpreter
    calls: dict[str, Callable[[], object]] = {}
    for precision in ("int8", "fp32"):
        path = _whole_network(bundle, manifest, f"tflite-{precision}")
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
    for precision in ("int8", "fp32"):
        model = core.read_model(_whole_network(bundle, manifest, f"onnx-{precision}"))
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
    picture = np.ascontiguousarray(image[0].transpose(2, 0, 1), dtype=np.float32) / 255
    with tempfile.TemporaryDirectory() as folder, _quiet_output():
        path = Path(folder) / "resnet18.pt"
        pnnx.export(model, str(path), torch.from_numpy(picture[np.newaxis]), fp16=False)
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.load_param(str(path.with_suffix(".ncnn.param")))
        net.load_model(str(path.with_suffix(".ncnn.bin")))

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(picture))
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
    picture = torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    explainer = grad_cam.GradCAM(model=model, target_layers=[model.layer4[-1]])

    def forward() -> object:
        with torch.inference_mode():
            return model(picture)

    return {
        "PyTorch fp32, bare": forward,
        "PyTorch fp32 + pytorch-grad-cam": lambda: explainer(input_tensor=picture, targets=None),
    }


class _quiet_output:  # noqa: N801 (used as a function)
    """Send what a converter prints to nowhere."""

    def __enter__(self) -> None:
        self._saved = [os.dup(1), os.dup(2)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)


def measure_cold_starts(bundle: Path, jpeg: bytes) -> dict[str, dict[str, float]]:
    """Return seconds and peak MiB from process start to printed answer: ten-line scripts and the command line."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.jpg"
        picture.write_bytes(jpeg)
        commands: dict[str, list[str]] = {}
        for engine in installed_engines():
            if not (bundle / f"model.int8.{engine}").is_file():  # what the script reads; a small bundle lacks it
                continue
            flags = ["--bundle", str(bundle), "--engine", engine, "--threads", "1", "--json"]
            commands[f"{engine} script"] = [sys.executable, "-c", COLD_START_SCRIPTS[engine], str(bundle), str(picture)]
            commands[f"{engine} dermedge"] = [sys.executable, "-m", "edge_runtime", "predict", str(picture), *flags]
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(_COLD_ROUNDS + 1):
            for name, command in commands.items():
                measured = _run_once(command)
                if number:  # the first fills the disk cache
                    runs[name].append(measured)
    return {
        name: {
            "seconds": lower_quartile([seconds for seconds, _ in measured]),
            "mebibytes": lower_quartile([mebibytes for _, mebibytes in measured]),
        }
        for name, measured in runs.items()
    }


def _run_once(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak MiB of a command.

    A small process in between starts it: the system counts a parent's memory as its child's peak.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    finished = subprocess.run(  # noqa: S603 (this interpreter, with our own arguments)
        [sys.executable, "-S", "-E", "-c", LAUNCHER, *command], capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    if finished.returncode != 0:
        raise EngineError(f"{' '.join(command[1:4])[:60]} failed: {finished.stderr.strip().splitlines()[-1]}")
    seconds, mebibytes = finished.stdout.split()
    return float(seconds), float(mebibytes)


def measure_folder(bundle: Path, jpeg: bytes) -> dict[str, dict[str, float]]:
    """Return pictures per second on one thread and in folder mode on all processors, both JPEG → answer.

    ``ratio`` is folder mode over processors × one thread; ``processor_ratio`` is the same from the processor time a
    picture costs, which other programs on the machine do not change, but which leaves out time spent waiting.
    """
    processors = available_processors()
    found: dict[str, dict[str, float]] = {}
    for engine in installed_engines():
        single, folder = [], []
        with Classifier.load(bundle, engine=engine, threads=1, replicas=processors) as classifier:
            list(classifier.predict_many([jpeg] * 2 * processors))  # the first call of each replica allocates
            for _ in range(5):
                alone = _FOLDER_PICTURES // processors
                single.append(_seconds_a_picture(alone, partial(_predict_each, classifier, [jpeg] * alone)))
                many = partial(_exhaust, classifier, [jpeg] * _FOLDER_PICTURES)
                folder.append(_seconds_a_picture(_FOLDER_PICTURES, many))
        (single_wall, single_processor), (folder_wall, folder_processor) = (
            tuple(min(column) for column in zip(*rows, strict=True)) for rows in (single, folder)
        )
        found[engine] = {
            "single_per_second": 1 / single_wall,
            "folder_per_second": 1 / folder_wall,
            "processors": processors,
            "ratio": single_wall / (processors * folder_wall),
            "processor_ratio": single_processor / folder_processor,
        }
    return found


def _predict_each(classifier: Classifier, pictures: list[bytes]) -> None:
    for picture in pictures:
        classifier.predict(picture)


def _exhaust(classifier: Classifier, pictures: list[bytes]) -> None:
    for _ in classifier.predict_many(pictures):
        pass


def _seconds_a_picture(count: int, call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds for each of ``count`` pictures."""
    started, processor_started = perf_counter(), process_time()
    call()
    return (perf_counter() - started) / count, (process_time() - processor_started) / count


def print_peers(peers: dict[str, Any]) -> None:
    """Print what :func:`measure_peers` found."""
    print("\none thread's work, side by side, in turns")
    for name, milliseconds in peers["milliseconds"].items():
        print(f"  {name:<44}{milliseconds:>9.2f} ms")
    print("\ncold start to printed answer, and peak memory")
    for name, measured in peers["cold"].items():
        print(f"  {name:<44}{1e3 * measured['seconds']:>9.0f} ms {measured['mebibytes']:>8.1f} MiB")
    for engine in {name.split()[0]: None for name in peers["cold"]}:
        script, ours = peers["cold"][f"{engine} script"], peers["cold"][f"{engine} dermedge"]
        print(
            f"  {engine}: {ours['seconds'] / script['seconds']:.2f} × the ten-line script's time (bar {COLD_BAR}), "
            f"{ours['mebibytes'] / script['mebibytes']:.2f} × its memory (bar {MEMORY_BAR})"
        )
    print("\nfolder mode, JPEG → answer")
    for engine, measured in peers["folder"].items():
        print(
            f"  {engine}: {measured['folder_per_second']:.1f} a second on {measured['processors']} processors, "
            f"{measured['single_per_second']:.1f} on one: {measured['ratio']:.2f} of the ideal (bar {FOLDER_BAR}), "
            f"{measured['processor_ratio']:.2f} by processor time"
        )
