"""Exported ``explain`` graphs against the ``pytorch-grad-cam`` package, which knows nothing of this project.

Both int8 engines are covered by ``test_export.py``, against the automatic differentiation that these tests confirm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from edge_runtime.backends import backend
from export.onnx_writer import write_onnx
from export.parity import map_correlation
from export.split_model import ExplainLinearGraph, split_model
from export.tflite_writer import convert_tflite
from tests.conftest import blob_picture
from tests.export.conftest import fitted_model
from train.models import normalise

SIZE = 128


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Three pictures of blobs, uint8 [3,S,S,3]."""
    return torch.from_numpy(np.stack([np.asarray(blob_picture(SIZE, SIZE, seed)) for seed in range(3)]))


@pytest.mark.parametrize(("architecture", "linear"), [("resnet18", True), ("mobilenet_v3_small", False)])
@pytest.mark.parametrize("extension", ["onnx", "tflite"])
def test_explain_graph_is_grad_cam(
    architecture: str, linear: bool, extension: str, pictures: torch.Tensor, tmp_path: Path
) -> None:
    model = fitted_model(architecture, pictures, torch.tensor([1, 4, 5]))
    graphs = split_model(model, "NCHW" if extension == "onnx" else "NHWC", size=SIZE)
    assert isinstance(graphs["explain"].module, ExplainLinearGraph) == linear
    runs = {}
    for role in ("features", "explain"):
        if extension == "onnx":
            data = write_onnx(graphs[role], tmp_path / f"{role}.onnx", {}).read_bytes()
        else:
            data = convert_tflite(graphs[role])
        runs[role] = backend(extension).load_graph(data, 1, 1)
    with torch.no_grad():
        answered = model(normalise(pictures)).argmax(dim=1).tolist()
    with GradCAM(model=model, target_layers=[model.features]) as oracle:
        expected = oracle(normalise(pictures), [ClassifierOutputTarget(label) for label in answered])
    for picture, label, theirs in zip(pictures, answered, expected, strict=True):
        feature_map = runs["features"]({"image_nhwc": picture[None].numpy()})["feature_map"]
        one_hot = np.eye(7, dtype=np.float32)[label : label + 1]
        ours = runs["explain"]({"feature_map": feature_map, "class_weights": one_hot})["class_activation_map"]
        enlarged = scale_cam_image(ours, (SIZE, SIZE))[0]  # as the oracle does with its own maps
        assert theirs.max() > 0.9, "an empty map would agree with anything"
        assert map_correlation(enlarged, theirs) >= 0.999
