"""The whole network as one graph: a converted backbone and a converted head, put together without converting again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_runtime.engines import backend
from export.formats.onnx_graphs import compose_model as compose_onnx
from export.formats.onnx_writer import convert_onnx, file_content
from export.formats.tflite_composition import HEAD_SCOPE, compose_model
from export.formats.tflite_quantisation import operator_outputs
from export.formats.tflite_writer import convert_tflite
from export.roles.feature_map import Layout
from export.roles.split_model import split_model

SIZE = 32
PATIENT = 5


class Head(nn.Module):
    """A head with all that one can have: a patient's vector, and a second output that ``model`` leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 7)
        self.patient = nn.Linear(PATIENT, 7)
        self.scorer = nn.Linear(8, 1)

    def forward(self, feature_map: torch.Tensor, metadata: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        assert metadata is not None
        pooled = feature_map.mean((2, 3))
        score = torch.sigmoid(self.scorer(pooled))[:, 0]
        return {"logits": self.classifier(pooled) + self.patient(metadata), "outlier_score": score}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
        self.head = Head()


@pytest.mark.slow
@pytest.mark.parametrize(("extension", "layout"), [("onnx", "NCHW"), ("tflite", "NHWC")])
def test_composed_model_is_the_network(extension: str, layout: Layout) -> None:
    torch.manual_seed(0)
    roles = split_model(Network().eval(), layout, size=SIZE, temperature=0.2, metadata_size=PATIENT)
    if extension == "onnx":
        features, head = (convert_onnx(roles[role]) for role in ("features", "head"))
        assert "Sigmoid" in {node.op_type for node in head.graph.node}
        composed = compose_onnx(features, head)
        assert "Sigmoid" not in {node.op_type for node in composed.graph.node}
        content = file_content(composed, {})
    else:
        features, head = (convert_tflite(roles[role]) for role in ("features", "head"))
        content = compose_model(features, head)
        backbone, whole, tail = (operator_outputs(graph) for graph in (features, content, head))
        assert whole[: len(backbone)] == backbone
        assert len(whole) < len(backbone) + len(tail) + 1, "what computes the score is left out"
        assert all(name.encode().startswith(HEAD_SCOPE) for _, name in whole[len(backbone) : -1])
    run = backend(extension).load_graph(content, 1, 1)
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    for _ in range(2):
        patient = generator.random((1, PATIENT), dtype=np.float32)
        found = run({"image_nhwc": image, "metadata": patient})
        with torch.no_grad():
            expected = roles["model"].module(torch.from_numpy(image), torch.from_numpy(patient))
        assert list(found) == ["probabilities"]
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"].numpy(), atol=1e-6)
