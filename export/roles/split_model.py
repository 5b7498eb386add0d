"""The four roles of a model as modules with the bundle's border: names, layouts and dtypes of docs/reference/bundle.md.

The device runs ``features`` → ``head`` → ``explain`` and has no code for any architecture; everything a model does
beyond that is put inside these graphs here: normalisation, temperature, and the gradient that Grad-CAM needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.func import vjp
from torch.fx.experimental.proxy_tensor import make_fx

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.manifest import Role
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.roles.folding import fold_for_inference

Layout = Literal["NCHW", "NHWC"]
"""Layout of the feature map at the border: NCHW in ONNX, NHWC in TFLite."""


@dataclass(frozen=True)
class RoleGraph:
    """A role's module, example inputs by name (batch 1), and its outputs' names in order."""

    role: Role
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class FeaturesGraph(nn.Module):
    """``image_nhwc`` uint8 [N,S,S,3] → ``feature_map`` float32, normalising inside.

    With ``image_layout`` NCHW the image is taken as [N,3,S,S]: for converters that turn every input themselves.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: nn.Module, layout: Layout, image_layout: Layout = "NHWC") -> None:
        super().__init__()
        self.features = features
        self.layout = layout
        self.image_layout = image_layout
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN))
        self.register_buffer("scale", 1 / (255 * torch.tensor(IMAGENET_STD)))

    def forward(self, image_nhwc: Tensor) -> dict[str, Tensor]:
        image = image_nhwc.to(torch.float32)
        if self.image_layout == "NCHW":
            normalised = (image - self.mean[:, None, None]) * self.scale[:, None, None]
        else:
            normalised = ((image - self.mean) * self.scale).permute(0, 3, 1, 2)
        return {"feature_map": to_layout(self.features(normalised), self.layout)}


class HeadGraph(nn.Module):
    """``feature_map`` (and ``metadata``) → ``logits`` float32 [N,7] divided by the temperature."""

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
        """Pool in the border's own layout where the head can go on from there: no graph turns the map for a mean."""
        if not hasattr(self.head, "from_pooled"):
            return call_head(self.head, from_layout(feature_map, self.layout), metadata)
        pooled = feature_map.mean(dim=(2, 3) if self.layout == "NCHW" else (1, 2))
        return by_name(cast(Any, self.head).from_pooled(pooled, metadata))


class ExplainLinearGraph(nn.Module):
    """Grad-CAM in closed form, for heads that are linear in the feature map and treat all positions alike.

    There the gradient of a class's logit is the same everywhere: a row of ``channel_weights`` [7,C].
    """

    channel_weights: Tensor

    def __init__(self, channel_weights: Tensor, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.register_buffer("channel_weights", channel_weights)

    def forward(self, feature_map: Tensor, class_weights: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        weights = class_weights @ self.channel_weights
        weights = weights[:, :, None, None] if self.layout == "NCHW" else weights[:, None, None, :]
        weighted = (feature_map * weights).sum(1 if self.layout == "NCHW" else 3)
        return {"class_activation_map": torch.relu(weighted)}


class ModelGraph(nn.Module):
    """``image_nhwc`` (and ``metadata``) → ``probabilities`` float32 [N,7]: the whole network in one graph."""

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
    class_weights = {"class_weights": torch.zeros((1, len(CLASS_CODES)))}
    with torch.no_grad():
        feature_map = features(**image)
        head_outputs = tuple(head(**feature_map, **metadata))
    explain = explain_module(head.head, feature_map["feature_map"], layout, metadata.get("metadata"))
    graphs = (
        RoleGraph("features", features, image, ("feature_map",)),
        RoleGraph("head", head, {**feature_map, **metadata}, head_outputs),
        RoleGraph("explain", explain, {**feature_map, **class_weights, **metadata}, ("class_activation_map",)),
        RoleGraph("model", ModelGraph(features, head).eval(), {**image, **metadata}, ("probabilities",)),
    )
    return {graph.role: graph for graph in graphs}


def with_channels_first_image(graphs: dict[Role, RoleGraph]) -> dict[Role, RoleGraph]:
    """Return the same roles, with the image as [1,3,S,S] in those that take one."""
    features = cast(FeaturesGraph, graphs["features"].module)
    turned = FeaturesGraph(features.features, features.layout, "NCHW").eval()
    modules = {"features": turned, "model": ModelGraph(turned, head_of(graphs)).eval()}
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


def explain_module(head: nn.Module, feature_map: Tensor, layout: Layout, metadata: Tensor | None) -> nn.Module:
    """Return Grad-CAM of the head's uncalibrated logits: in closed form where that is exact, else the gradient.

    Whether the closed form holds is asked of the head itself, by its gradient at two different feature maps.
    """
    nchw = from_layout(feature_map, layout)
    channel_weights = _constant_channel_weights(head, nchw, metadata)
    if channel_weights is not None:
        return ExplainLinearGraph(channel_weights, layout).eval()
    return _traced_gradient(head, feature_map, layout, metadata)


def _grad_cam(head: nn.Module, feature_map: Tensor, class_weights: Tensor, metadata: Tensor | None = None) -> Tensor:
    """Return Grad-CAM [N,h,w] in operations that can be traced, for a feature map NCHW and one-hot classes [N,7].

    Graphs are made from this, so it proves nothing about them: the reference is :mod:`train.model.gradcam`.
    """
    backward = vjp(lambda feature_map: call_head(head, feature_map, metadata)["logits"], feature_map)[1]
    (gradient,) = backward(class_weights)
    return torch.relu((gradient.mean((2, 3), keepdim=True) * feature_map).sum(1))


def call_head(head: nn.Module, feature_map_nchw: Tensor, metadata: Tensor | None) -> dict[str, Tensor]:
    """Run a head and return its outputs by name: ``logits`` and, where the head has it, ``outlier_score``."""
    return by_name(head(feature_map_nchw) if metadata is None else head(feature_map_nchw, metadata))


def by_name(outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a head's only output its name."""
    return dict(outputs) if isinstance(outputs, dict) else {"logits": outputs}


def to_layout(feature_map_nchw: Tensor, layout: Layout) -> Tensor:
    """Turn a feature map from NCHW to the border's layout."""
    return feature_map_nchw if layout == "NCHW" else feature_map_nchw.permute(0, 2, 3, 1)


def from_layout(feature_map: Tensor, layout: Layout) -> Tensor:
    """Turn a feature map from the border's layout to NCHW."""
    return feature_map if layout == "NCHW" else feature_map.permute(0, 3, 1, 2)


def _constant_channel_weights(head: nn.Module, feature_map: Tensor, metadata: Tensor | None) -> Tensor | None:
    """Return d logits[c] / d feature_map[k] as [7,C] when it depends on neither the feature map nor the position."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.eye(len(CLASS_CODES))
    gradients = []
    for _ in range(2):
        point = torch.rand(feature_map.shape, generator=generator).expand(len(classes), -1, -1, -1)
        patients = None if metadata is None else torch.rand(metadata.shape, generator=generator)
        repeated = None if patients is None else patients.expand(len(classes), -1)

        def logits(feature_map: Tensor, patients: Tensor | None = repeated) -> Tensor:
            return call_head(head, feature_map, patients)["logits"]

        gradients.append(vjp(logits, point)[1](classes)[0])
    pooled = gradients[0].mean((2, 3))
    tolerance = 1e-6 * float(pooled.detach().abs().max())
    same = all(float((gradient - pooled[:, :, None, None]).detach().abs().max()) <= tolerance for gradient in gradients)
    return pooled.detach() if same else None


def _traced_gradient(head: nn.Module, feature_map: Tensor, layout: Layout, metadata: Tensor | None) -> nn.Module:
    """Return a module that computes :func:`_grad_cam`, with the backward pass traced into plain operations.

    ``vjp`` inside ``forward`` is beyond both exporters; a trace of it is not.
    """

    def explain(feature_map: Tensor, class_weights: Tensor) -> Tensor:
        return _grad_cam(head, from_layout(feature_map, layout), class_weights)

    def explain_patient(feature_map: Tensor, class_weights: Tensor, metadata: Tensor) -> Tensor:
        return _grad_cam(head, from_layout(feature_map, layout), class_weights, metadata)

    batch = 1 if layout == "NHWC" else 2
    examples = [feature_map, torch.zeros((1, len(CLASS_CODES)))] + ([] if metadata is None else [metadata])
    trace: Callable[..., nn.Module] = make_fx(
        explain if metadata is None else explain_patient,
        decomposition_table=dict(core_aten_decompositions()),
        tracing_mode="real" if layout == "NHWC" else "symbolic",  # the batch of a TFLite file is fixed
        _allow_non_fake_inputs=True,  # the head's weights are real tensors
    )
    traced = trace(*(example.expand(batch, *example.shape[1:]).contiguous() for example in examples))
    return _NamedGradient(traced, has_metadata=metadata is not None).eval()


class _NamedGradient(nn.Module):
    """Gives a traced gradient the names of the ``explain`` role's border."""

    def __init__(self, traced: nn.Module, *, has_metadata: bool) -> None:
        super().__init__()
        self.traced = traced
        self.has_metadata = has_metadata

    def forward(self, feature_map: Tensor, class_weights: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        inputs = (feature_map, class_weights, metadata) if self.has_metadata else (feature_map, class_weights)
        return {"class_activation_map": self.traced(*inputs)}
