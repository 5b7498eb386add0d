"""Inference engines: each turns the bytes of one graph file into a function from named arrays to named arrays.

An engine is one module here with ``is_installed()``, ``version()``, ``package_file()``, ``TAKES_BATCHES`` (whether its
graphs take more than one picture a call) and ``load_graph(data, threads, replicas)``; nothing else in the project
knows about engines.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    RunGraph = Callable[[dict[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]

ENGINES: tuple[str, ...] = ("onnx", "tflite")
_MODULES = {"onnx": "edge_runtime.backends.onnx", "tflite": "edge_runtime.backends.tflite"}


def backend(engine: str) -> ModuleType:
    """Return the module of an engine. Raises :class:`EngineError` when its package is not installed."""
    if engine not in _MODULES:
        raise EngineError(f"unknown engine {engine!r}, expected one of {', '.join(ENGINES)}")
    module = import_module(_MODULES[engine])
    if not module.is_installed():
        raise EngineError(f"engine {engine!r} is not installed: pip install {module.PACKAGES[0]}")
    return module


def installed_engines() -> list[str]:
    """Return the engines whose package is installed, without importing the packages."""
    return [engine for engine in ENGINES if import_module(_MODULES[engine]).is_installed()]
