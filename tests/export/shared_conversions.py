"""Exports of one session convert equal graphs once: a converter takes seconds for each layer, whatever its size."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from onnx import ModelProto

from export.formats import onnx_writer, tflite_writer
from export.roles.split_model import RoleGraph

_files: dict[tuple[object, ...], bytes] = {}
_sharing = True


@contextmanager
def shared_conversions() -> Iterator[None]:
    """Let exports reuse what was converted from an equal graph before."""
    convert_onnx, convert_tflite = onnx_writer.convert_onnx, tflite_writer.convert_tflite

    def shared_onnx(graph: RoleGraph, *, fixed_batch: bool = False) -> ModelProto:
        content = _once(
            graph, ("onnx", fixed_batch), lambda: convert_onnx(graph, fixed_batch=fixed_batch).SerializeToString()
        )
        return ModelProto.FromString(content)

    def shared_tflite(graph: RoleGraph) -> bytes:
        return _once(graph, ("tflite",), lambda: convert_tflite(graph))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_writer, "convert_onnx", shared_onnx)
        patch.setattr(tflite_writer, "convert_tflite", shared_tflite)
        yield
    _files.clear()


@contextmanager
def own_conversions() -> Iterator[None]:
    """Let nothing be reused for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "_sharing", False)
        yield


def _once(graph: RoleGraph, kind: tuple[Any, ...], convert: Callable[[], bytes]) -> bytes:
    digest = _digest(graph) if _sharing else None
    if digest is None:
        return convert()
    if (*kind, digest) not in _files:
        _files[*kind, digest] = convert()
    return _files[*kind, digest]


def _digest(graph: RoleGraph) -> bytes | None:
    """Return what tells the module's code, settings and weights and its example inputs from all others; ``None`` for a
    traced gradient, which holds objects that cannot be saved."""
    saved = io.BytesIO()
    try:
        torch.save(graph, saved)
    except RuntimeError:
        return None
    return hashlib.sha256(saved.getvalue()).digest()
