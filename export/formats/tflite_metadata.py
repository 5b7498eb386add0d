"""TFLite metadata: classes, their file, and what the image must look like, inside the ``.tflite`` itself.

Readers such as Netron, MediaPipe and the TFLite Task library find a flatbuffer of their metadata schema (identifier
``M001``) in the file's buffer ``TFLITE_METADATA``, and the labels as a ZIP archive behind the graph. The schema has not
changed since 2021; its tables are written here directly, since the packages that could need their own environments.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert.schema_py_generated import BufferT, MetadataT
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

from export.roles.split_model import RoleGraph

METADATA_NAME = b"TFLITE_METADATA"
FILE_IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
TENSOR_AXIS_LABELS = 2
IMAGE_PROPERTIES = 2
RGB = 1
LABELLED_OUTPUTS = ("logits", "probabilities")

_DESCRIPTIONS = {
    "image_nhwc": "decoded image, RGB, stretched with an antialiased bilinear filter; the graph normalises",
    "feature_map": "features of the same variant's backbone",
    "metadata": "age, sex and site of the patient as the manifest describes; zeros: unknown",
    "class_weights": "one-hot class to explain",
    "logits": "logits divided by the calibration temperature, in the order of labels.txt",
    "probabilities": "calibrated probabilities in the order of labels.txt",
    "class_activation_map": "Grad-CAM of the class, not negative, not normalised",
    "outlier_score": "higher: less like a dermoscopic image",
}


def with_metadata(
    graph: bytes, role_graph: RoleGraph, codes: Sequence[str], name: str, description: str, licence: str
) -> bytes:
    """Return the file with metadata inside and, for a role whose output is per class, the class codes
    behind it."""
    model = read_model(graph)
    packed = _pack(role_graph, name, description, licence)
    for buffer in model.buffers:  # what is no array is written byte by byte in Python, minutes for a network
        if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    model.buffers.append(_buffer(packed))
    entry = MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [one for one in model.metadata or [] if one.name != METADATA_NAME] + [entry]
    data = bytes(convert_object_to_bytearray(model))
    return data + _labels_archive(len(data), codes) if _is_labelled(role_graph) else data


def _labels_archive(offset: int, codes: Sequence[str]) -> bytes:
    """Return the ZIP archive with the labels; ``offset`` is where in the file it will begin."""
    stream = io.BytesIO()
    stream.write(b"\0" * offset)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes in every export
        archive.writestr(entry, "".join(f"{code}\n" for code in codes))
    return stream.getvalue()[offset:]


def _buffer(data: bytes) -> BufferT:
    buffer = BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    return buffer


def _is_labelled(graph: RoleGraph) -> bool:
    return any(output in LABELLED_OUTPUTS for output in graph.outputs)


def _pack(graph: RoleGraph, name: str, description: str, licence: str) -> bytes:
    builder = flatbuffers.Builder(1024)
    inputs = [_tensor(builder, tensor, labelled=False) for tensor in graph.inputs]
    outputs = [_tensor(builder, tensor, labelled=tensor in LABELLED_OUTPUTS) for tensor in graph.outputs]
    subgraph = _table(
        builder,
        9,
        {0: _text(builder, graph.role), 2: _vector(builder, inputs), 3: _vector(builder, outputs)},
    )
    fields = {
        0: _text(builder, name),
        1: _text(builder, description),
        3: _vector(builder, [subgraph]),
        4: _text(builder, "dermedge"),
        5: _text(builder, licence),
        7: _text(builder, "1.0.0"),
    }
    builder.Finish(_table(builder, 8, fields), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, name: str, *, labelled: bool) -> int:
    """Write a ``TensorMetadata`` and return its offset."""
    fields = {0: _text(builder, name), 1: _text(builder, _DESCRIPTIONS[name])}
    if name == "image_nhwc":
        image = _table(builder, 2, {}, [lambda: builder.PrependInt8Slot(0, RGB, 0)])
        fields[3] = _table(builder, 3, {1: image}, [lambda: builder.PrependUint8Slot(0, IMAGE_PROPERTIES, 0)])
        low, high = _floats(builder, [0.0]), _floats(builder, [255.0])
        fields[5] = _table(builder, 2, {0: high, 1: low})
    if labelled:
        file_fields = {0: _text(builder, LABELS_FILE), 1: _text(builder, "class codes in order")}
        label_type = [lambda: builder.PrependInt8Slot(2, TENSOR_AXIS_LABELS, 0)]
        fields[6] = _vector(builder, [_table(builder, 5, file_fields, label_type)])
    return _table(builder, 7, fields)


def _table(
    builder: flatbuffers.Builder, size: int, offsets: dict[int, int], scalars: list[Callable[[], object]] | None = None
) -> int:
    builder.StartObject(size)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for scalar in scalars or []:
        scalar()
    return int(builder.EndObject())


def _text(builder: flatbuffers.Builder, text: str) -> int:
    return int(builder.CreateString(text))


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: list[float]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.float32)))
