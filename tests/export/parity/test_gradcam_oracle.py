"""Exported ``explain`` graphs against the ``pytorch-grad-cam`` package, which knows nothing of this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from edge_runtime.bundle.manifest import Role
from edge_runtime.engines import backend
from export.formats import onnx_quantisation, tflite_quantisation
from export.formats.onnx_writer import write_onnx
from export.formats.tflite_writer import convert_tflite
from export.int8.activation_ranges import choose_ranges
from export.int8.layer_inputs import record_layer_inputs
from export.int8.weight_rounding import round_layers
from export.parity.check import map_correlation
from export.roles.explain import ExplainLinearGraph
from export.roles.split_model import RoleGraph, split_model
from tests.conftest import blob_image
from tests.export.conftest import fitted_model
from train.model.architectures import normalise

SIZE = 128
LEAST_CORRELATION = {"fp32": 0.999, "int8": 0.95}
ROLES: tuple[Role, ...] = ("features", "explain")
PRECISIONS = {"shallow_resnet": ("fp32", "int8"), "shallow_mobilenet": ("fp32",)}
"""A MobileNet takes to int8 once it is trained, not with the random weights of a test."""


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Three images of blobs, uint8 [3,S,S,3]."""
    return torch.from_numpy(np.stack([np.asarray(blob_image(SIZE, SIZE, seed)) for seed in range(3)]))


def written(graph: RoleGraph, extension: str, folder: Path) -> bytes:
    """Return a role's float file."""
    if extension == "onnx":
        return write_onnx(graph, folder / "graph.onnx", {}).read_bytes()
    return convert_tflite(graph)


def quantised(backbone: bytes, extension: str, images: np.ndarray) -> bytes:
    """Return the int8 file of a float backbone, calibrated with images [N,S,S,3]."""
    if extension == "tflite":
        ranges = choose_ranges(tflite_quantisation.record_statistics(backbone, images, 1), "min-max")
        return tflite_quantisation.quantise_int8(backbone, ranges)
    model = onnx.load_from_string(backbone)
    ranges = choose_ranges(onnx_quantisation.record_statistics(model, images), "min-max")
    weights = round_layers(record_layer_inputs(model, images), compensate=True, pair_limit=True)
    return onnx_quantisation.quantise_int8(model, ranges, weights).SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", PRECISIONS)
@pytest.mark.parametrize("extension", ["onnx", "tflite"])
def test_explain_graph_is_grad_cam(architecture: str, extension: str, images: torch.Tensor, tmp_path: Path) -> None:
    model = fitted_model(architecture, images, torch.tensor([1, 4, 5]))
    graphs = split_model(model, "NCHW" if extension == "onnx" else "NHWC", size=SIZE)
    assert isinstance(graphs["explain"].module, ExplainLinearGraph) == (architecture == "shallow_resnet")
    backbone, explain = (written(graphs[role], extension, tmp_path) for role in ROLES)
    with torch.no_grad():
        predicted = model(normalise(images)).argmax(dim=1).tolist()
    with GradCAM(model=model, target_layers=[model.features]) as oracle:
        expected = oracle(normalise(images), [ClassifierOutputTarget(label) for label in predicted])
    for precision in PRECISIONS[architecture]:
        features = backbone if precision == "fp32" else quantised(backbone, extension, images.numpy())
        run_features, run_explain = (backend(extension).load_graph(content, 1, 1) for content in (features, explain))
        for image, label, theirs in zip(images, predicted, expected, strict=True):
            feature_map = run_features({"image_nhwc": image[None].numpy()})["feature_map"]
            one_hot = np.eye(7, dtype=np.float32)[label : label + 1]
            ours = run_explain({"feature_map": feature_map, "class_weights": one_hot})["class_activation_map"]
            enlarged = scale_cam_image(ours, (SIZE, SIZE))[0]  # as the oracle does with its own maps
            assert theirs.max() > 0.9, "an empty map would agree with anything"
            assert map_correlation(enlarged, theirs) >= LEAST_CORRELATION[precision]
            assert precision == "fp32" or np.abs(enlarged - theirs).max() > 1e-3, "a map this exact is not int8's"
