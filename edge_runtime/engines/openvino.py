"""ONNX graphs through OpenVINO's CPU plugin: optional, and on many x86 CPUs the fastest.

It reads the same graphs as onnxruntime. A graph with quantised operations runs in int8, and its unquantised operations
at the precision the plugin prefers for this CPU (bfloat16 on some); any other graph runs in fp32.
Its telemetry package is kept from being loaded: this program makes no network connections.
"""

from __future__ import annotations

import queue
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edge_runtime.engines.external_data import refuse_external_data
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.engines import RunGraph

PACKAGES = ("openvino",)
TAKES_BATCHES = False  # graphs are compiled for one image, which is faster than for any number


def is_installed() -> bool:
    """Whether OpenVINO can be imported; does not import it."""
    return find_spec("openvino") is not None


def version() -> str:
    """Return the engine's name and version."""
    from importlib.metadata import version as package_version

    return f"openvino {package_version('openvino')}"


def package_file() -> str:
    """Return a file that changes whenever another version of the engine is installed."""
    specification = find_spec("openvino")
    return (specification.origin or "") if specification else ""


def load_graph(data: bytes, threads: int, replicas: int) -> RunGraph:
    """Compile a graph. A request serves one thread at a time, so ``replicas`` requests share the work."""
    refuse_external_data(data)
    try:
        compiled = compile_graph(data, threads, replicas)
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(replicas):
            requests.put(compiled.create_infer_request())
        output_names = [port.any_name for port in compiled.outputs]
    except Exception as error:
        raise EngineError(f"openvino refused the graph: {_last_line(error)}") from None

    def run(inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        request = requests.get()
        try:
            results = request.infer(inputs, share_inputs=True)  # outputs are copies, so they outlive the next call
            return {name: results[index] for index, name in enumerate(output_names)}
        except Exception as error:
            raise EngineError(f"openvino failed: {_last_line(error)}") from None
        finally:
            requests.put(request)

    return run


def compile_graph(data: bytes, threads: int, replicas: int) -> Any:
    """Return OpenVINO's compiled model of a graph, for one image at a time."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    core = openvino.Core()
    model = core.read_model(data)
    model.reshape({port.any_name: _for_one_image(port.partial_shape) for port in model.inputs})
    return core.compile_model(model, "CPU", _settings(model, threads, replicas))


def _for_one_image(shape: Any) -> list[int]:
    return [1 if dimension.is_dynamic else dimension.get_length() for dimension in shape]


def _settings(model: Any, threads: int, replicas: int) -> dict[str, Any]:
    settings = {
        "INFERENCE_NUM_THREADS": threads * replicas,
        "NUM_STREAMS": replicas,
        "PERFORMANCE_HINT": "LATENCY" if replicas == 1 else "THROUGHPUT",
        "ENABLE_CPU_PINNING": False,  # other programs may be pinned to the same CPUs
    }
    if not any(operation.get_type_name() == "FakeQuantize" for operation in model.get_ops()):
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    return settings


def _last_line(error: Exception) -> str:
    """Return what is wrong: OpenVINO's messages begin with source locations."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
