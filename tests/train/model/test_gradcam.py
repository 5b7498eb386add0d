"""Our Grad-CAM is the paper's: it equals an independent implementation and, for a linear head, the closed form."""

from __future__ import annotations

import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from train.model.architectures import build_model
from train.model.gradcam import feature_grad_cam, grad_cam

SIZE = 96


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return build_model("resnet18", classes=7).eval()


def test_equals_the_closed_form_of_a_pooled_linear_head(resnet, images):
    classes = torch.tensor([4, 1])
    maps = grad_cam(resnet, images, classes)
    with torch.no_grad():
        feature_map = resnet.features(images)
        weights = resnet.head.classifier.weight[classes] / feature_map[0, 0].numel()
        expected = torch.relu(torch.einsum("nc,nchw->nhw", weights, feature_map))
    assert maps.shape == (2, 3, 3)
    assert maps.max() > 0
    torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small"])
def test_equals_the_independent_implementation(architecture, images):
    torch.manual_seed(1)
    model = build_model(architecture, classes=7).eval()
    with torch.no_grad():  # untrained maps are so faint that the reference's 1e-7 in a denominator would show
        model.head.classifier.weight *= 1e5
        classes = model(images).argmax(dim=1)  # the map of a class with a positive logit is not empty
    maps = grad_cam(model, images, classes)
    with GradCAM(model=model, target_layers=[model.features]) as reference:
        expected = reference(input_tensor=images, targets=[ClassifierOutputTarget(int(one)) for one in classes])
    for ours, theirs in zip(maps, torch.from_numpy(expected), strict=True):
        scaled = (ours - ours.min()) / (ours.max() - ours.min())  # the reference scales, enlarges, and scales again
        enlarged = torch.nn.functional.interpolate(scaled[None, None], size=(SIZE, SIZE), mode="bilinear")[0, 0]
        assert theirs.max() > 0.9
        torch.testing.assert_close(enlarged, theirs, rtol=0, atol=1e-2)  # OpenCV enlarges with coarse weights


def test_metadata_does_not_move_the_map(images):
    torch.manual_seed(2)
    model = build_model("resnet18", classes=7, metadata_size=5).eval()
    classes = torch.tensor([3, 3])
    with torch.no_grad():
        feature_map = model.features(images)
    without = feature_grad_cam(model, feature_map, classes)
    known = feature_grad_cam(model, feature_map, classes, torch.ones(2, 5))
    torch.testing.assert_close(without, known)


def test_the_model_is_left_as_it_was(resnet, images):
    with torch.no_grad():
        grad_cam(resnet, images, torch.tensor([0, 0]))
    assert all(parameter.grad is None for parameter in resnet.parameters())
    assert not resnet.training
