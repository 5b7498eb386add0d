"""Grad-CAM by autograd on the PyTorch model: the independent reference for every exported ``explain`` graph.

Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017. The layer
is the one where ``features`` ends and ``head`` begins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from train.model.architectures import LesionModel


def grad_cam(model: LesionModel, image_nchw: Tensor, class_indices: Tensor, metadata: Tensor | None = None) -> Tensor:
    """Return the class-activation maps of normalised images: float [N, h, w], ≥ 0, not scaled.

    ``image_nchw`` float [N, 3, H, W], ``class_indices`` int64 [N], ``metadata`` float [N, M] or ``None``. The model
    must be in evaluation mode; its parameters get no gradient.
    """
    with torch.no_grad():
        feature_map = model.features(image_nchw)
    return feature_grad_cam(model, feature_map, class_indices, metadata)


def feature_grad_cam(
    model: LesionModel, feature_map: Tensor, class_indices: Tensor, metadata: Tensor | None = None
) -> Tensor:
    """Return the maps from feature maps float [N, C, h, w]: relu(Σ_c mean(∂logit/∂F_c) · F_c), float [N, h, w]."""
    feature_map = feature_map.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model.head(feature_map, metadata)
        chosen = logits.gather(1, class_indices[:, None]).sum()  # images do not mix, so neither do their gradients
        (gradient,) = torch.autograd.grad(chosen, feature_map)
    channel_weights = gradient.mean(dim=(2, 3), keepdim=True)
    return torch.relu((channel_weights * feature_map).sum(dim=1)).detach()
