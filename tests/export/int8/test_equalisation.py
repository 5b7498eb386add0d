"""Equalised backbones compute the same, and their channels are of like size."""

from __future__ import annotations

import torch
from torch import nn

from export.int8.equalisation import equalise, neighbours
from export.roles.folding import fold_for_inference
from train.model.architectures import build_model


class TwoConvolutions(nn.Module):
    """Two convolutions, then a depthwise one, with channels of very different sizes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(),
            nn.Conv2d(6, 4, 1), nn.Hardswish(),
            nn.Conv2d(4, 4, 1),
        )  # fmt: skip
        self.head = nn.Identity()
        with torch.no_grad():
            self.features[1].weight.copy_(torch.logspace(-2, 2, 6))


def test_outputs_stay_and_channels_become_alike() -> None:
    torch.manual_seed(0)
    model = TwoConvolutions().eval()
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = model.features(image)
        equalised = equalise(model)
        found = equalised.features(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    def spread(features: nn.Module) -> float:
        first = next(module for module in features.modules() if isinstance(module, nn.Conv2d))
        largest = first.weight.detach().abs().amax((1, 2, 3))
        return float(largest.max() / largest.min())

    before = spread(fold_for_inference(model.features, explicit_padding=False))
    assert before > 1000
    assert spread(equalised.features) < before / 10


def test_pairs_are_those_with_a_relu_alone_in_between() -> None:
    model = TwoConvolutions().eval()
    assert len(neighbours(fold_for_inference(model.features, explicit_padding=False))) == 2
    resnet = fold_for_inference(build_model("resnet18", classes=7).eval().features, explicit_padding=False)
    assert len(neighbours(resnet)) == 8, "the first of each of the eight blocks; sums are read twice"
    efficientnet = fold_for_inference(build_model("efficientnet_b0", classes=7).eval().features, explicit_padding=False)
    assert neighbours(efficientnet) == []
