"""The four roles of a model as modules, with the inputs and outputs of docs/reference/bundle.md.

The device runs ``features`` → ``head`` → ``explain`` and has no code for any architecture; everything a model does
beyond that is put inside these graphs: normalisation, temperature, and the gradient that Grad-CAM needs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edge_runtime.bundle.manifest import Role
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.roles.explain import explain_module
from export.roles.feature_map import Layout, by_name, call_head, from_layout, to_layout
from export.roles.folding import fold_for_inference, with_scaled_input


@dataclass(frozen=True)
class RoleGraph:
    """A role's module, example inputs by name (batch 1), and its outputs' names in order."""

    role: Role
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class FeaturesGraph(nn.Module):
    """``image_nhwc`` uint8 [N,S,S,3] → ``feature_map`` float32, normalising inside.

    The mean is subtracted here, so that zero padding remains padding with the mean; the division by the standard
    deviation is part of the first convolution's weights, where the backbone begins with a convolution.
    With ``image_layout`` NCHW the image is taken as [N,3,S,S]: for converters that transpose every input themselves.
    """

    mean: Tensor
    scale: Tensor | None

    def __init__(self, features: nn.Module, layout: Layout) -> None:
        super().__init__()
        scale = 1 / (255 * torch.tensor(IMAGENET_STD))
        scaled = with_scaled_input(features, scale)
        self.features = features if scaled is None else scaled
        self.layout = layout
        self.image_layout: Layout = "NHWC"
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN))
        self.register_buffer("scale", scale if scaled is None else None)

    def with_image_layout(self, image_layout: Layout) -> FeaturesGraph:
        """Return the same graph, with the same weights, for images in another layout."""
        other = copy.copy(self)
        other.image_layout = image_layout
        return other

    def forward(self, image_nhwc: Tensor) -> dict[str, Tensor]:
        channels_first = self.image_layout == "NCHW"
        image = image_nhwc.to(torch.float32) - (self.mean[:, None, None] if channels_first else self.mean)
        if self.scale is not None:
            image = image * (self.scale[:, None, None] if channels_first else self.scale)
        normalised = image if channels_first else image.permute(0, 3, 1, 2)
        return {"feature_map": to_layout(self.features(normalised), self.layout)}


class HeadGraph(nn.Module):
    """``feature_map`` (and ``metadata``) → ``logits`` float32 [N,C] divided by the temperature."""

    def __init__(self, head: nn.Module, temperature: float, layout: Layout) -> None:
        super().__init__()
        self.head = head
        self.temperature = temperature
        self.layout = layout

    def forward(self, feature_map: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        outputs = self._outputs(feature_map, metadata)
        if self.temperature != 1.0:
            outputs["logits"] = outputs["logits"] / self.temperature
        return outputs

    def _outputs(self, feature_map: Tensor, metadata: Tensor | None) -> dict[str, Tensor]:
        """Pool in the layout of the graph where the head takes pooled features: no graph transposes for a mean."""
        if not hasattr(self.head, "from_pooled"):
            return call_head(self.head, from_layout(feature_map, self.layout), metadata)
        pooled = feature_map.mean(dim=(2, 3) if self.layout == "NCHW" else (1, 2))
        return by_name(cast(Any, self.head).from_pooled(pooled, metadata))


class ModelGraph(nn.Module):
    """``image_nhwc`` (and ``metadata``) → ``probabilities`` float32 [N,C]: the whole network in one graph."""

    def __init__(self, features: FeaturesGraph, head: HeadGraph) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, image_nhwc: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        feature_map = self.features(image_nhwc)["feature_map"]
        return {"probabilities": torch.softmax(self.head(feature_map, metadata)["logits"], dim=1)}


def split_model(
    model: nn.Module,
    layout: Layout,
    *,
    size: int,
    temperature: float = 1.0,
    metadata_size: int = 0,
    explicit_padding: bool | None = None,
) -> dict[Role, RoleGraph]:
    """Return the four roles of ``model`` (submodules ``features`` and ``head``) with example inputs.

    ``size`` is the image's side in pixels, ``metadata_size`` the length of the patient vector, 0 for none.
    ``explicit_padding`` is what :func:`fold_for_inference` takes; by default what the layout's format needs.
    """
    padding = layout == "NHWC" if explicit_padding is None else explicit_padding
    features = FeaturesGraph(
        fold_for_inference(cast(nn.Module, model.features), explicit_padding=padding), layout
    ).eval()
    head = HeadGraph(cast(nn.Module, model.head).eval(), temperature, layout).eval()
    image = {"image_nhwc": torch.zeros((1, size, size, 3), dtype=torch.uint8)}
    metadata = {"metadata": torch.zeros((1, metadata_size))} if metadata_size else {}
    with torch.no_grad():
        feature_map = features(**image)
        head_outputs = head(**feature_map, **metadata)
    class_weights = {"class_weights": torch.zeros_like(head_outputs["logits"])}
    explain = explain_module(head.head, feature_map["feature_map"], layout, metadata.get("metadata"))
    graphs = (
        RoleGraph("features", features, image, ("feature_map",)),
        RoleGraph("head", head, {**feature_map, **metadata}, tuple(head_outputs)),
        RoleGraph("explain", explain, {**feature_map, **class_weights, **metadata}, ("class_activation_map",)),
        RoleGraph("model", ModelGraph(features, head).eval(), {**image, **metadata}, ("probabilities",)),
    )
    return {graph.role: graph for graph in graphs}


def with_channels_first_image(graphs: dict[Role, RoleGraph]) -> dict[Role, RoleGraph]:
    """Return the same roles, with the image as [1,3,S,S] in those that take one."""
    features = cast(FeaturesGraph, graphs["features"].module)
    channels_first = features.with_image_layout("NCHW")
    modules = {"features": channels_first, "model": ModelGraph(channels_first, head_of(graphs)).eval()}
    return {
        role: RoleGraph(
            role,
            modules.get(role, graph.module),
            {name: x.permute(0, 3, 1, 2) if name == "image_nhwc" else x for name, x in graph.inputs.items()},
            graph.outputs,
        )
        for role, graph in graphs.items()
    }


def head_of(graphs: dict[Role, RoleGraph]) -> HeadGraph:
    """Return the head's module."""
    return cast(HeadGraph, graphs["head"].module)
