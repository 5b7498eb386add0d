"""OpenVINO reads the graphs that onnxruntime reads, keeps them int8, and gives the same predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.engines import openvino, usable_variants
from edge_runtime.errors import EngineError
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import REAL_DATA, REPOSITORY, blob_image

REFERENCE = REPOSITORY / "models" / "ham10000-resnet18"
INT8_TOLERANCE = 0.05
"""Largest change of a probability: both round to eight bits, in other places."""

pytestmark = [
    pytest.mark.skipif(
        not openvino.is_installed(), reason="openvino is not installed: pip install 'dermedge[openvino]'"
    ),
]
needs_onnxruntime = pytest.mark.skipif(
    "onnx-int8" not in usable_variants(["onnx-int8"]), reason="onnxruntime is not installed"
)


def both(bundle: Path, precision: str, source: object) -> tuple[np.ndarray, np.ndarray]:
    predictions = []
    for engine in ("onnx", "openvino"):
        with Classifier.load(bundle, engine=engine, precision=precision, threads=1) as classifier:
            predictions.append(np.array(list(classifier.predict(source, explain=True).probabilities.values())))
    return predictions[0], predictions[1]


@needs_onnxruntime
@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 0.02), ("fp32", 1e-5)])
def test_it_agrees_with_onnxruntime(precision: str, tolerance: float, tiny_bundle: Path) -> None:
    first, second = both(tiny_bundle, precision, blob_image(seed=3))
    np.testing.assert_allclose(second, first, atol=tolerance)


@needs_onnxruntime
@pytest.mark.real_data
def test_it_agrees_with_onnxruntime_on_real_images() -> None:
    images = sorted((REAL_DATA / "HAM10000_images_part_1").glob("*.jpg"))[:2400:120]
    with (
        Classifier.load(REFERENCE, engine="onnx", threads=1) as onnxruntime,
        Classifier.load(REFERENCE, engine="openvino", threads=1) as other,
    ):
        pairs = [(onnxruntime.predict(image), other.predict(image)) for image in images]
    assert len(pairs) == 20
    for expected, found in pairs:
        values = np.array(list(expected.probabilities.values()))
        np.testing.assert_allclose(list(found.probabilities.values()), values, atol=INT8_TOLERANCE)
        first, second = np.sort(values)[::-1][:2]
        assert found.label == expected.label or first - second < INT8_TOLERANCE


def test_the_backbone_stays_int8() -> None:
    data = (REFERENCE / "features.int8.onnx").read_bytes()
    operations = openvino.compile_graph(data, 1, 1).get_runtime_model().get_ops()
    convolutions = [
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in operations
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    eight_bits = sum(precision in ("u8", "i8") for precision in convolutions)
    assert eight_bits >= 0.8 * len(convolutions) > 0, convolutions


def test_the_other_graphs_stay_fp32(tiny_bundle: Path) -> None:
    compiled = openvino.compile_graph((tiny_bundle / "head.fp32.onnx").read_bytes(), 1, 1)
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_its_outputs_outlive_the_next_call() -> None:
    graph = openvino.load_graph((REFERENCE / "features.int8.onnx").read_bytes(), 1, 1)
    first = graph({"image_nhwc": load_image_hwc(blob_image(seed=1))[np.newaxis]})["feature_map"]
    before = first.copy()
    graph({"image_nhwc": load_image_hwc(blob_image(seed=2))[np.newaxis]})
    np.testing.assert_array_equal(first, before)


def test_wrong_inputs_are_one_line(tiny_bundle: Path) -> None:
    graph = openvino.load_graph((tiny_bundle / "head.fp32.onnx").read_bytes(), 1, 1)
    with pytest.raises(EngineError, match=r"^openvino failed: .+$"):
        graph({"feature_map": np.zeros((1, 2, 3), dtype=np.float32)})
