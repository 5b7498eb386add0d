"""The image's way into int8 ONNX graphs: nothing computed in float before the first convolution, and no time but in
convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from edge_runtime.bench.profile import operator_shares
from export.formats.onnx_image_input import CENTRE, image_ranges, with_centred_image
from export.formats.onnx_quantisation import quantise_int8, record_statistics
from export.formats.onnx_writer import convert_onnx, count_nodes
from export.int8.activation_ranges import choose_ranges
from export.int8.layer_inputs import record_layer_inputs
from export.int8.weight_rounding import round_layers
from export.roles.split_model import split_model
from tests.conftest import blob_image
from tests.export.networks import SHALLOW
from train.model.architectures import LesionModel, build_model

INTEGER_WORK = {
    "QLinearConv",
    "QLinearAdd",
    "NhwcMaxPool",
    "MaxPool",
    "Transpose",
    "QuantizeLinear",
    "DequantizeLinear",
}


@dataclass(frozen=True)
class Graphs:
    """A ``features`` graph as written in fp32, centred, and in int8; and images uint8 [N,S,S,3]."""

    fp32: ModelProto
    centred: ModelProto
    int8: ModelProto
    images: np.ndarray


def make_graphs(model: nn.Module, size: int) -> Graphs:
    images = np.stack([np.asarray(blob_image(seed=seed).resize((size, size))) for seed in range(3)])
    fp32 = convert_onnx(split_model(model, "NCHW", size=size)["features"])
    centred = with_centred_image(fp32)
    ranges = choose_ranges(record_statistics(centred, images), "min-max")
    weights = round_layers(record_layer_inputs(centred, images), compensate=False, pair_limit=True)
    return Graphs(fp32, centred, quantise_int8(centred, ranges, weights), images)


def feature_map(model: ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["feature_map"], {"image_nhwc": images})[0]
    return found


def way_in(model: ModelProto) -> list[str]:
    """Return the operators from the image to the first convolution."""
    found, name = [], "image_nhwc"
    while not found or found[-1] != "Conv":
        node = next(node for node in model.graph.node if node.op_type != "Shape" and name in node.input)
        found.append(node.op_type)
        name = node.output[0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(set(SHALLOW.values())))
def test_the_first_convolution_reads_the_bytes_of_the_image(architecture: str) -> None:
    torch.manual_seed(0)
    graphs = make_graphs(build_model(architecture, classes=7).eval(), 64)
    assert way_in(graphs.fp32) == ["Cast", "Sub", "Transpose", "Conv"]
    assert way_in(graphs.int8) == ["Transpose", "DequantizeLinear", "Conv"]
    node = next(node for node in graphs.int8.graph.node if node.input[0] == "image_nhwc" and node.op_type != "Shape")
    read = next(reader for reader in graphs.int8.graph.node if node.output[0] in reader.input)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graphs.int8.graph.initializer}
    assert (stored[read.input[1]], stored[read.input[2]]) == (1, CENTRE)
    exact, found = feature_map(graphs.fp32, graphs.images), feature_map(graphs.int8, graphs.images)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.97


def unpadded_model(first: nn.Module) -> LesionModel:
    torch.manual_seed(0)
    features = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    return LesionModel("small", features, head, []).eval()  # type: ignore[arg-type]


@pytest.mark.slow
def test_only_the_padding_changes() -> None:
    inside = make_graphs(unpadded_model(nn.Conv2d(3, 6, 5)), 32)
    np.testing.assert_allclose(
        feature_map(inside.centred, inside.images), feature_map(inside.fp32, inside.images), atol=1e-4
    )
    padded = make_graphs(unpadded_model(nn.Conv2d(3, 6, 5, padding=2)), 32)
    difference = np.abs(feature_map(padded.centred, padded.images) - feature_map(padded.fp32, padded.images))
    assert difference[:, :, 3:-3, 3:-3].max() < 1e-4 < difference.max()


def test_a_convolution_without_bias_gets_one() -> None:
    graphs = make_graphs(unpadded_model(nn.Conv2d(3, 6, 5, bias=False)), 32)
    np.testing.assert_allclose(
        feature_map(graphs.centred, graphs.images), feature_map(graphs.fp32, graphs.images), atol=1e-4
    )
    assert way_in(graphs.int8) == ["Transpose", "DequantizeLinear", "Conv"]


@pytest.mark.parametrize(
    "first",
    [
        lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 6, 1)),
        lambda: nn.Conv2d(3, 6, 3, groups=3),
        lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"),
    ],
    ids=["pooling first", "in groups", "other padding"],
)
def test_other_beginnings_keep_their_normalisation_in_float(first: Callable[[], nn.Module]) -> None:
    graphs = make_graphs(unpadded_model(first()), 32)
    assert image_ranges(graphs.centred) == {}
    for graph in (graphs.fp32, graphs.int8):
        assert count_nodes(graph).keys() >= {"Cast", "Sub", "Mul", "Transpose"}
    exact, found = feature_map(graphs.fp32, graphs.images), feature_map(graphs.int8, graphs.images)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.97


@pytest.mark.slow
def test_onnxruntime_spends_its_time_in_convolutions() -> None:
    """Max-pooling and normalisation once took a third of a ResNet18's time: pooling of bytes in NCHW is slow, and so is
    a first convolution in float. Shares of the profile are compared, which other load on the machine leaves alone."""
    torch.manual_seed(0)
    graphs = make_graphs(build_model("resnet18", classes=7).eval(), 224)
    shares = operator_shares(graphs.int8.SerializeToString(), graphs.images[:1], threads=1, runs=15)
    assert shares.keys() <= INTEGER_WORK, "nothing is computed in float"
    assert {name: share for name, share in shares.items() if share > 0.05}.keys() == {"QLinearConv"}, shares
