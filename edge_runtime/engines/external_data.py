"""Refusing ONNX files whose tensors keep their values in another file ("external data").

Such a graph would make the engine read files whose checksums nobody verified. onnxruntime has no switch against it, and
the ``onnx`` package is too heavy for a device, so this walks the protobuf's few nested messages that can hold a tensor.
Field numbers: onnx.proto, IR version 3 and later.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime.errors import EngineError

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
"""For each message that can lead to a tensor: the field numbers of its children and what they are."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def refuse_external_data(data: bytes) -> None:
    """Raise :class:`EngineError` when a tensor of the ONNX file keeps its values elsewhere, or the file is damaged."""
    try:
        external = _has_external_data(memoryview(data), "model")
    except (IndexError, ValueError, RecursionError):
        raise EngineError("not a readable ONNX file") from None
    if external:
        raise EngineError("the ONNX graph keeps tensors in another file (external data), which is not allowed")


def _has_external_data(message: memoryview, kind: str) -> bool:
    if kind == "tensor":
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0) for number, value in _fields(message)
        )
    children = _CHILDREN[kind]
    return any(
        number in children and isinstance(value, memoryview) and _has_external_data(value, children[number])
        for number, value in _fields(message)
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field's number and value: an integer, or the bytes of a string or nested message."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if position + length > end:
            raise ValueError("a field reaches past the end")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the variable-length integer at ``position`` and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
