"""Inference engines: each turns the bytes of one graph file into a function from named arrays to named arrays.

An engine is one module here with ``is_installed()``, ``version()``, ``package_file()``, ``TAKES_BATCHES`` (whether its
graphs take more than one image per call) and ``load_graph(data, threads, replicas)``; nothing else in the project
knows about engines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    RunGraph = Callable[[dict[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]

GRAPH_FORMATS = {"onnx": "onnx", "tflite": "tflite", "openvino": "onnx"}
"""The graph format that each engine reads."""

ENGINES: tuple[str, ...] = tuple(GRAPH_FORMATS)


def backend(engine: str) -> ModuleType:
    """Return the module of an engine. Raises :class:`EngineError` when its package is not installed."""
    if engine not in GRAPH_FORMATS:
        raise EngineError(f"unknown engine {engine!r}, expected one of {', '.join(ENGINES)}")
    module = _module(engine)
    if not module.is_installed():
        raise EngineError(f"engine {engine!r} is not installed: pip install {module.PACKAGES[0]}")
    return module


def installed_engines() -> list[str]:
    """Return the engines whose package is installed, without importing the packages."""
    return [engine for engine in ENGINES if _module(engine).is_installed()]


def variant_read_by(engine: str, precision: str) -> str:
    """Return the name of the bundle's variant that an engine reads at a precision, such as ``onnx-int8``."""
    return f"{GRAPH_FORMATS[engine]}-{precision}"


def usable_variants(variants: Collection[str]) -> list[str]:
    """Return ``engine-precision`` for every installed engine that reads one of a bundle's ``variants``, sorted."""
    precisions = {name.partition("-")[2] for name in variants}
    return sorted(
        f"{engine}-{precision}"
        for engine in installed_engines()
        for precision in precisions
        if variant_read_by(engine, precision) in variants
    )


def _module(engine: str) -> ModuleType:
    return import_module(f"edge_runtime.engines.{engine}")
