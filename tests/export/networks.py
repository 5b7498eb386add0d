"""Shallow networks of every registered kind: the same layers as the real ones, far fewer of them, about as wide.

Converters and quantisers take time for each layer and can fail on each kind of layer. So most tests export these, and
one test compares their kinds of layers with those of the real architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torchvision
from torch import nn
from torchvision.models._api import register_model
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from train.model.architectures import ARCHITECTURES, Architecture

SHALLOW = {
    "resnet18": "shallow_resnet",
    "resnet34": "shallow_resnet",
    "resnet50": "shallow_bottleneck_resnet",
    "densenet121": "shallow_densenet",
    "efficientnet_b0": "shallow_efficientnet",
    "mobilenet_v3_small": "shallow_mobilenet",
    "mobilenet_v3_large": "shallow_mobilenet",
}
"""By registered architecture: the shallow network with its kinds of layers."""


def _efficientnet() -> nn.Module:
    blocks = [
        MBConvConfig(1, 3, 1, 32, 16, 1, 1.0, 1.0),
        MBConvConfig(6, 3, 2, 16, 40, 1, 1.0, 1.0),
        MBConvConfig(6, 5, 2, 40, 80, 1, 1.0, 1.0),
        MBConvConfig(6, 5, 1, 80, 80, 1, 1.0, 1.0),  # the same shape in and out: with a shortcut
    ]
    return EfficientNet(blocks, dropout=0.2)


def _mobilenet() -> nn.Module:
    block = partial(InvertedResidualConfig, width_mult=1.0)
    blocks = [
        block(16, 3, 32, 32, True, "RE", 2, 1),
        block(32, 3, 96, 64, False, "RE", 2, 1),
        block(64, 3, 192, 64, False, "RE", 1, 1),  # with a shortcut
        block(64, 5, 256, 64, True, "HS", 1, 1),
        block(64, 5, 256, 96, True, "HS", 2, 1),
        block(96, 5, 384, 128, True, "HS", 2, 1),
    ]
    return MobileNetV3(blocks, last_channel=256)


_BUILDERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "shallow_resnet": (lambda: ResNet(BasicBlock, [1, 1, 1, 2]), "resnet18"),
    "shallow_bottleneck_resnet": (lambda: ResNet(Bottleneck, [1, 1, 1, 1]), "resnet50"),
    "shallow_densenet": (lambda: DenseNet(64, (2, 2), 64), "densenet121"),
    "shallow_efficientnet": (_efficientnet, "efficientnet_b0"),
    "shallow_mobilenet": (_mobilenet, "mobilenet_v3_small"),
}


@contextmanager
def shallow_networks() -> Iterator[None]:
    """Register the shallow networks as architectures for a while."""
    for name, (build, kind) in _BUILDERS.items():
        if name not in torchvision.models.list_models():
            register_model(name)(lambda weights=None, build=build: build())
        ARCHITECTURES[name] = Architecture(ARCHITECTURES[kind].cut, ARCHITECTURES[kind].renamed)
    try:
        yield
    finally:
        for name in _BUILDERS:
            del ARCHITECTURES[name]


def kinds_of_layers(network: nn.Module) -> set[tuple[object, ...]]:
    """Return what a converter can tell apart: every module's type, and the geometry of convolutions and pools."""
    kinds: set[tuple[object, ...]] = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            grouped = "depthwise" if module.groups == module.in_channels > 1 else module.groups
            kinds.add((nn.Conv2d, module.kernel_size, module.stride, module.padding, grouped, module.bias is not None))
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            kinds.add((type(module), module.kernel_size, module.stride, module.padding))
        else:
            kinds.add((type(module),))
    return kinds
