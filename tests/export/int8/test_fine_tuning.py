"""Fine-tuning for int8: rounded, the tuned weights are closer to the float network than the plain ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edge_runtime.bundle.classes import ham10000
from export.int8.fine_tuning import RoundedActivation, RoundedWeight, _with_rounding, fine_tune
from export.roles.folding import convolutions, fold_for_inference
from train.model.architectures import normalise


class SmallModel(nn.Module):
    """A backbone of three convolutions with batch norm, whose first has channels of very different sizes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 8), (8, 16)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(ham10000().codes)))


@pytest.fixture
def images() -> np.ndarray:
    """Twenty-four noisy images [N,32,32,3] of different colours."""
    generator = np.random.default_rng(0)
    colours = generator.integers(30, 220, (24, 1, 1, 3))
    return np.clip(colours + generator.normal(0, 25, (24, 32, 32, 3)), 0, 255).astype(np.uint8)


def rounded_difference(features: nn.Module, target: torch.Tensor, images: np.ndarray) -> float:
    """Return the mean squared change of the feature map when weights are rounded to the levels of the files."""
    rounded = copy.deepcopy(features)
    with torch.no_grad():
        for convolution in convolutions(rounded).values():
            convolution.weight.copy_(RoundedWeight()(convolution.weight))
        return float((rounded(normalise(torch.from_numpy(images))) - target).square().mean())


def test_tuned_weights_are_closer_when_rounded(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = SmallModel().eval()
    with torch.no_grad():
        model.features[0].weight.mul_(torch.logspace(-2, 1, 3).reshape(1, 3, 1, 1))  # rounding spoils the first inputs
        target = model.features(normalise(torch.from_numpy(images)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr("export.int8.fine_tuning.LEARNING_RATE", 1e-3)
    tuned = fine_tune(model, images, None, steps=80)
    plain = fold_for_inference(model.features, explicit_padding=False)
    loss = rounded_difference(plain, target, images)
    assert rounded_difference(tuned.features, target, images) < 0.8 * loss
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items()), "the original stays"


def test_tuned_backbone_holds_no_rounding(images: np.ndarray) -> None:
    torch.manual_seed(0)
    tuned = fine_tune(SmallModel().eval(), images, None, steps=1)
    kinds = {type(module) for module in tuned.features.modules()}
    assert not kinds & {RoundedActivation, RoundedWeight, nn.BatchNorm2d}
    assert [name for name, _ in tuned.features.named_parameters() if "original" in name] == []


def test_every_tensor_but_those_before_a_relu_is_rounded() -> None:
    backbone = fold_for_inference(SmallModel().features, explicit_padding=False)
    student = _with_rounding(backbone)
    roundings = [module for module in student.modules() if isinstance(module, RoundedActivation)]
    assert len(roundings) == 1 + 3  # the image, and each ReLU's output


def test_same_seed_gives_the_same_weights(images: np.ndarray) -> None:
    torch.manual_seed(0)
    model = SmallModel().eval()
    first, second = (fine_tune(model, images, None, steps=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
