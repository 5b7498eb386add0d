"""TFLite graphs through LiteRT (``ai_edge_litert``), the older ``tflite_runtime``, or TensorFlow.

``tflite_runtime`` 2.14 is the last release and the only one with wheels for 32-bit ARM; it needs numpy < 2.
"""

from __future__ import annotations

import os
import queue
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edge_runtime.captured_output import without_information_lines
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.engines import RunGraph

PACKAGES = ("ai-edge-litert", "tflite-runtime", "tensorflow")
TAKES_BATCHES = False
_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


def is_installed() -> bool:
    """Whether any of the three packages can be imported; imports none."""
    return _installed_index() is not None


def version() -> str:
    """Return the package's name and version."""
    from importlib.metadata import PackageNotFoundError  # slow to import, and no prediction needs it
    from importlib.metadata import version as package_version

    index = _installed_index()
    if index is None:
        raise EngineError("no TFLite engine is installed")
    try:
        return f"{PACKAGES[index]} {package_version(PACKAGES[index])}"
    except PackageNotFoundError:
        return PACKAGES[index]


def package_file() -> str:
    """Return a file that changes whenever another version of the engine is installed."""
    index = _installed_index()
    specification = None if index is None else find_spec(_MODULES[index].partition(".")[0])
    return (specification.origin or "") if specification else ""


def load_graph(data: bytes, threads: int, replicas: int) -> RunGraph:
    """Load a graph. An interpreter serves one thread at a time, so ``replicas`` interpreters share the work.

    Inputs and outputs are addressed by the names of the graph's default signature.
    """
    pool: queue.SimpleQueue[_SignatureInterpreter] = queue.SimpleQueue()
    for _ in range(replicas):
        pool.put(_SignatureInterpreter(data, threads))

    def run(inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        interpreter = pool.get()
        try:
            return interpreter.run(inputs)
        finally:
            pool.put(interpreter)

    return run


class _SignatureInterpreter:
    """An interpreter with the tensor index of each name of its signature looked up once."""

    def __init__(self, data: bytes, threads: int) -> None:
        index = _installed_index()
        assert index is not None
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        interpreter_class = import_module(_MODULES[index]).Interpreter
        try:
            with without_information_lines():
                self._interpreter: Any = interpreter_class(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner()
            self._inputs = {name: detail["index"] for name, detail in runner.get_input_details().items()}
            self._outputs = {name: detail["index"] for name, detail in runner.get_output_details().items()}
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"{PACKAGES[index]} refused the graph: {_first_line(error)}") from None

    def run(self, inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph; the arrays returned are copies, so they outlive the next call."""
        try:
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._inputs[name], array)
            self._interpreter.invoke()
        except (KeyError, ValueError, RuntimeError) as error:
            raise EngineError(f"TFLite failed: {_first_line(error)}") from None
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


def _installed_index() -> int | None:
    for index, module in enumerate(_MODULES):
        if find_spec(module.partition(".")[0]) is not None:  # the package alone: a submodule's spec would import it
            return index
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
