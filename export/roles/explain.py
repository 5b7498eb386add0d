"""The ``explain`` role: Grad-CAM as a graph, in closed form where that is exact, else as the traced gradient.

Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization. ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.func import vjp
from torch.fx.experimental.proxy_tensor import make_fx

from export.roles.feature_map import Layout, call_head, from_layout


class ExplainLinearGraph(nn.Module):
    """Grad-CAM in closed form, for heads that are linear in the feature map and treat all positions alike.

    There the gradient of a class's logit is the same everywhere: a row of ``channel_weights`` [C,K].
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
    """Return Grad-CAM [N,h,w] in operations that can be traced, for a feature map NCHW and one-hot classes [N,C].

    Graphs are made from this, so it proves nothing about them: the reference is :mod:`train.model.gradcam`.
    """
    backward = vjp(lambda feature_map: call_head(head, feature_map, metadata)["logits"], feature_map)[1]
    (gradient,) = backward(class_weights)
    return torch.relu((gradient.mean((2, 3), keepdim=True) * feature_map).sum(1))


def _class_count(head: nn.Module, feature_map: Tensor, metadata: Tensor | None) -> int:
    with torch.no_grad():
        return int(call_head(head, feature_map, metadata)["logits"].shape[1])


def _constant_channel_weights(head: nn.Module, feature_map: Tensor, metadata: Tensor | None) -> Tensor | None:
    """Return d logits[c] / d feature_map[k] as [C,K] when it depends on neither the feature map nor the position."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.eye(_class_count(head, feature_map, metadata))
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
    count = _class_count(head, from_layout(feature_map, layout), metadata)
    examples = [feature_map, torch.zeros((1, count))] + ([] if metadata is None else [metadata])
    trace: Callable[..., nn.Module] = make_fx(
        explain if metadata is None else explain_patient,
        decomposition_table=dict(core_aten_decompositions()),
        tracing_mode="real" if layout == "NHWC" else "symbolic",  # the batch of a TFLite file is fixed
        _allow_non_fake_inputs=True,  # the head's weights are real tensors
    )
    traced = trace(*(example.expand(batch, *example.shape[1:]).contiguous() for example in examples))
    return _NamedGradient(traced, has_metadata=metadata is not None).eval()


class _NamedGradient(nn.Module):
    """Gives a traced gradient the names of the ``explain`` role's inputs and output."""

    def __init__(self, traced: nn.Module, *, has_metadata: bool) -> None:
        super().__init__()
        self.traced = traced
        self.has_metadata = has_metadata

    def forward(self, feature_map: Tensor, class_weights: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        inputs = (feature_map, class_weights, metadata) if self.has_metadata else (feature_map, class_weights)
        return {"class_activation_map": self.traced(*inputs)}
