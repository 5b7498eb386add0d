"""What the files say of themselves, read back by libraries that know nothing of this project."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.schema_py_generated import Model
from flatbuffers import number_types
from flatbuffers.table import Table

from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import Role
from export.formats import onnx_graphs, onnx_writer, tflite_writer
from export.formats.tflite_composition import compose_model
from export.formats.tflite_metadata import with_metadata
from export.roles.feature_map import Layout
from export.roles.split_model import RoleGraph, split_model
from tests.export.conftest import SIZE
from train.model.checkpoint import build_checkpoint_model, load_checkpoint

pytestmark = pytest.mark.slow
ROLES: tuple[Role, ...] = ("features", "head")
PROPERTIES = {"classes": json.dumps(list(ham10000().codes)), "input": "uint8 RGB NHWC"}


def graphs(checkpoint: Path, layout: Layout) -> dict[Role, RoleGraph]:
    """Return the roles as an export converts them."""
    model = build_checkpoint_model(load_checkpoint(checkpoint))
    return split_model(model, layout, size=SIZE, temperature=1.5)


@pytest.fixture(scope="module")
def onnx_file(mobilenet_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    roles = graphs(mobilenet_checkpoint, "NCHW")
    features, head = (onnx_writer.convert_onnx(roles[role]) for role in ROLES)
    path = tmp_path_factory.mktemp("files") / "model.fp32.onnx"
    path.write_bytes(onnx_writer.file_content(onnx_graphs.compose_model(features, head), PROPERTIES))
    return path


@pytest.fixture(scope="module")
def tflite_file(mobilenet_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    roles = graphs(mobilenet_checkpoint, "NHWC")
    features, head = (tflite_writer.convert_tflite(roles[role]) for role in ROLES)
    path = tmp_path_factory.mktemp("files") / "model.fp32.tflite"
    path.write_bytes(
        with_metadata(compose_model(features, head), roles["model"], ham10000().codes, "small", "for a test", "none")
    )
    return path


def test_onnx_and_onnxruntime_see_the_properties(onnx_file: Path) -> None:
    assert {one.key: one.value for one in onnx.load(onnx_file).metadata_props} == PROPERTIES
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == PROPERTIES


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_sees_the_properties_and_predicts_the_same(onnx_file: Path, tflite_file: Path) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probabilities"], {"image_nhwc": image})
    model = core.read_model(onnx_file)
    for name, value in PROPERTIES.items():
        assert model.get_rt_info(["framework", name]).astype(str) == value
    for path in (onnx_file, tflite_file):
        compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        np.testing.assert_allclose(compiled(image)[0], expected, atol=1e-4)


def test_tflite_metadata_by_the_schema(tflite_file: Path) -> None:
    """Field numbers are those of metadata_schema.fbs of TFLite support, table by table."""
    data = tflite_file.read_bytes()
    model = Model.GetRootAs(data, 0)
    (entry,) = [model.Metadata(index) for index in range(model.MetadataLength())
                if model.Metadata(index).Name() == b"TFLITE_METADATA"]  # fmt: skip
    packed = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    assert packed[4:8] == b"M001"
    metadata = Table(packed, flatbuffers.encode.Get(number_types.UOffsetTFlags.packer_type, packed, 0))
    assert text(metadata, 0) == "small"
    (subgraph,) = tables(metadata, 3)
    (image,), (probabilities,) = tables(subgraph, 2), tables(subgraph, 3)
    assert text(image, 0) == "image_nhwc"
    assert text(probabilities, 0) == "probabilities"
    (labels,) = tables(probabilities, 6)
    assert text(labels, 0) == "labels.txt"
    with zipfile.ZipFile(tflite_file) as archive:
        assert archive.read(text(labels, 0)).decode().split() == list(ham10000().codes)


def text(table: Table, field: int) -> str:
    return bytes(table.String(table.Pos + table.Offset(4 + 2 * field))).decode()


def tables(table: Table, field: int) -> list[Table]:
    """Return the tables in a vector."""
    offset = table.Offset(4 + 2 * field)
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(table.VectorLen(offset))]
