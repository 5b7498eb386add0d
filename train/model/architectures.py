"""Every architecture as ``features`` (image → feature map) and ``head`` (feature map, metadata → logits).

``build_model("resnet18", classes=7)`` gives torchvision's network cut in these two, so the device can run one pass
through the backbone for both the prediction and the Grad-CAM map. For initial weights see
:mod:`train.model.initial_weights`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD

METADATA_HIDDEN = 32


class Head(nn.Module):
    """Feature map float [N, C, h, w] and optional metadata float [N, M] → logits float [N, classes].

    The pooled features pass ``hidden`` (nothing for a pooled linear head), dropout and ``classifier``. Metadata adds
    its own evidence to the logits, so a model with metadata also works without it (all zeros), and the gradient of a
    logit with respect to the feature map does not depend on the patient.
    """

    def __init__(
        self, channels: int, hidden: nn.Module | None, width: int, classes: int, dropout: float, metadata_size: int
    ) -> None:
        super().__init__()
        self.hidden = hidden if hidden is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)
        self.metadata_size = metadata_size
        self.pooled_linear = hidden is None
        self.metadata_evidence: nn.Module | None = None
        if metadata_size:
            self.metadata_evidence = nn.Sequential(
                nn.Linear(metadata_size, METADATA_HIDDEN), nn.ReLU(), nn.Linear(METADATA_HIDDEN, classes)
            )

    def forward(self, feature_map: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Return the logits; without ``metadata`` everything about the patient is unknown."""
        return self.from_pooled(feature_map.mean(dim=(2, 3)), metadata)

    def from_pooled(self, pooled: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Return the logits from pooled features [N, C]."""
        logits = self.classifier(self.dropout(self.hidden(pooled)))
        if self.metadata_evidence is None:
            return logits
        if metadata is None:
            metadata = pooled.new_zeros((pooled.shape[0], self.metadata_size))
        return logits + self.metadata_evidence(metadata)


class LesionModel(nn.Module):
    """``features`` then ``head``. ``stages`` are the backbone's, from the image on, for layer-wise learning rates."""

    def __init__(self, architecture: str, features: nn.Module, head: Head, stages: tuple[str, ...]) -> None:
        super().__init__()
        self.architecture = architecture
        self.features = features
        self.head = head
        self.stages = stages

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.head.classifier.out_features)

    def forward(self, image_nchw: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Normalised float images [N, 3, H, W] → logits float [N, classes]."""
        return self.head(self.features(image_nchw), metadata)


def normalise(batch_nhwc: Tensor) -> Tensor:
    """``uint8`` images [N, H, W, 3] → float32 [N, 3, H, W] standardised with ImageNet's mean and standard deviation."""
    batch = batch_nhwc.permute(0, 3, 1, 2).to(torch.float32) / 255.0
    mean = batch.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    deviation = batch.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (batch - mean) / deviation


def standardise(batch_nchw: Tensor) -> Tensor:
    """The second half of :func:`normalise`, in place: float images [N, 3, H, W] in 0..1, standardised."""
    mean = batch_nchw.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    deviation = batch_nchw.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return batch_nchw.sub_(mean).div_(deviation)


@dataclass(frozen=True)
class Parts:
    """A torchvision network cut in two: the backbone, its channels, hidden layers of the head, their width."""

    features: nn.Module
    channels: int
    hidden: nn.Module | None
    width: int


def _resnet(name: str) -> Parts:
    network = torchvision.models.get_model(name, weights=None)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    features = nn.Sequential(OrderedDict((part, getattr(network, part)) for part in names))
    return Parts(features, network.fc.in_features, None, network.fc.in_features)


def _densenet(name: str) -> Parts:
    network = torchvision.models.get_model(name, weights=None)
    network.features.add_module("relu", nn.ReLU(inplace=True))
    width = network.classifier.in_features
    return Parts(network.features, width, None, width)


def _efficientnet(name: str) -> Parts:
    network = torchvision.models.get_model(name, weights=None)
    width = network.classifier[-1].in_features
    return Parts(network.features, width, None, width)


def _mobilenet(name: str) -> Parts:
    network = torchvision.models.get_model(name, weights=None)
    linear, activation = network.classifier[0], network.classifier[1]
    return Parts(network.features, linear.in_features, nn.Sequential(linear, activation), linear.out_features)


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry: how to cut the network, and how torchvision's weight names become ours."""

    cut: Callable[[str], Parts]
    renamed: tuple[tuple[str, str], ...]


_RESNET_NAMES = (("fc.", "head.classifier."), ("", "features."))
_PLAIN_NAMES = (("features.", "features."), ("classifier.1.", "head.classifier."), ("classifier.", "head.classifier."))
_MOBILENET_NAMES = (
    ("features.", "features."),
    ("classifier.0.", "head.hidden.0."),
    ("classifier.3.", "head.classifier."),
)

ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture(_resnet, _RESNET_NAMES),
    "resnet34": Architecture(_resnet, _RESNET_NAMES),
    "resnet50": Architecture(_resnet, _RESNET_NAMES),
    "densenet121": Architecture(_densenet, _PLAIN_NAMES),
    "efficientnet_b0": Architecture(_efficientnet, _PLAIN_NAMES),
    "mobilenet_v3_small": Architecture(_mobilenet, _MOBILENET_NAMES),
    "mobilenet_v3_large": Architecture(_mobilenet, _MOBILENET_NAMES),
}


def build_model(architecture: str, *, classes: int, dropout: float = 0.0, metadata_size: int = 0) -> LesionModel:
    """Return a randomly initialised model. ``metadata_size`` is M, 0 for a model without patient metadata.

    Raises :class:`DataError` for an architecture that is not registered.
    """
    if architecture not in ARCHITECTURES:
        raise DataError(f"--architecture: expected one of {', '.join(ARCHITECTURES)}, found {architecture!r}")
    parts = ARCHITECTURES[architecture].cut(architecture)
    head = Head(parts.channels, parts.hidden, parts.width, classes, dropout, metadata_size)
    stages = tuple(f"features.{name}" for name, _ in parts.features.named_children())
    return LesionModel(architecture, parts.features, head, stages)
