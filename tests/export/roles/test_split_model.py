"""The roles as modules: Grad-CAM of any head, and folding that changes no prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_runtime.bundle.classes import ham10000
from export.roles.explain import ExplainLinearGraph, explain_module
from export.roles.feature_map import Layout
from export.roles.folding import fold_for_inference
from export.roles.split_model import split_model
from tests.export.networks import SHALLOW
from train.model.architectures import ARCHITECTURES, LesionModel, build_model, normalise
from train.model.gradcam import feature_grad_cam


class HiddenHead(nn.Module):
    """A pooled head with a hidden layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 16), nn.Hardswish(), nn.Linear(16, len(ham10000().codes)))

    def forward(self, feature_map: torch.Tensor, metadata: None = None) -> torch.Tensor:
        return self.layers(feature_map.mean((2, 3)))


class PooledHead(nn.Module):
    """A pooled linear head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, len(ham10000().codes))

    def forward(self, feature_map: torch.Tensor, metadata: None = None) -> torch.Tensor:
        return self.layer(feature_map.mean((2, 3)))


def reference_grad_cam(head: nn.Module, feature_map: torch.Tensor, label: int) -> torch.Tensor:
    """Return the map [h,w] that training's own definition gives, by automatic differentiation."""
    model = LesionModel("small", nn.Identity(), head, []).eval()  # type: ignore[arg-type]
    return feature_grad_cam(model, feature_map, torch.tensor([label]))[0]


@pytest.mark.parametrize("head_class", [HiddenHead, PooledHead])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_explain_is_grad_cam_of_any_head(head_class: type[nn.Module], layout: str) -> None:
    torch.manual_seed(1)
    head = head_class(12).eval()
    feature_map = torch.randn(1, 12, 5, 5)
    in_layout = feature_map if layout == "NCHW" else feature_map.permute(0, 2, 3, 1)
    module = explain_module(head, in_layout, layout, None)  # type: ignore[arg-type]
    assert isinstance(module, ExplainLinearGraph) == (head_class is PooledHead)
    for label in (0, 4):
        one_hot = torch.eye(len(ham10000().codes))[label : label + 1]
        expected = reference_grad_cam(head, feature_map, label)
        found = module(in_layout, one_hot)["class_activation_map"][0]
        torch.testing.assert_close(found.detach(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(SHALLOW.values())))
def test_roles_of_every_architecture_predict_as_the_model(architecture: str) -> None:
    torch.manual_seed(0)
    model = build_model(architecture, classes=7).eval()
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.softmax(model(normalise(image)) / 2.0, dim=1)
        nchw = model.features(normalise(image))
    one_hot = torch.eye(len(ham10000().codes))[:1]
    expected_map = reference_grad_cam(model.head, nchw, 0)
    layouts: tuple[Layout, ...] = ("NCHW", "NHWC")
    for layout in layouts:
        graphs = split_model(model, layout, size=64, temperature=2.0)
        with torch.no_grad():
            feature_map = graphs["features"].module(image)["feature_map"]
            chained = torch.softmax(graphs["head"].module(feature_map)["logits"], dim=1)
            whole = graphs["model"].module(image)["probabilities"]
        torch.testing.assert_close(chained, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-4)
        found = graphs["explain"].module(feature_map, one_hot)["class_activation_map"]
        torch.testing.assert_close(found[0].detach(), expected_map, atol=1e-5, rtol=1e-3)


def test_metadata_reaches_head_and_explain() -> None:
    torch.manual_seed(0)
    model = build_model("shallow_mobilenet", classes=7, metadata_size=5).eval()
    graphs = split_model(model, "NCHW", size=64, metadata_size=5)
    assert list(graphs["head"].inputs) == ["feature_map", "metadata"]
    assert list(graphs["explain"].inputs) == ["feature_map", "class_weights", "metadata"]
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    patient = torch.rand(1, 5)
    with torch.no_grad():
        found = graphs["model"].module(image, patient)["probabilities"]
        expected = torch.softmax(model(normalise(image), patient), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_folding_removes_batch_norm_dropout_and_padded_pools() -> None:
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(3, 2, 1)
    )
    features[1].running_mean = torch.randn(4)  # type: ignore[assignment]
    features.eval()
    folded = fold_for_inference(features, explicit_padding=False)
    assert not any(isinstance(module, (nn.BatchNorm2d, nn.Dropout)) for module in folded.modules())
    padded = [
        fold_for_inference(nn.Sequential(features[0], features[2], features[4]), explicit_padding=explicit)
        for explicit in (False, True)
    ]
    assert [any(isinstance(module, nn.ZeroPad2d) for module in one.modules()) for one in padded] == [False, True]
    image = torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(folded(image), features(image))
    torch.testing.assert_close(padded[0](image), padded[1](image))
    assert np.isfinite(folded(image).detach().numpy()).all()
