"""Colour and light as other cameras and clinics would have it: one batched matrix, gamma, and uneven illumination."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from train.augmentation.random import uniform

if TYPE_CHECKING:
    from train.augmentation.strengths import Augmentation

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G, B in perceived brightness (ITU-R BT.601)."""


def change_colours(batch_nchw: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Gamma, white balance, hue, saturation, contrast and brightness of float images [N, 3, H, W] in 0..1."""
    count, channels, height, width = batch_nchw.shape
    gamma = uniform(count, -augmentation.gamma, augmentation.gamma, generator).exp().to(batch_nchw.device)
    matrix = draw_colour_matrices(count, augmentation, generator).to(batch_nchw.device)
    contrast = uniform(count, -augmentation.contrast, augmentation.contrast, generator).exp().to(batch_nchw.device)
    if augmentation.gamma:
        batch_nchw = batch_nchw.clamp_(min=1e-4).pow(gamma.view(count, 1, 1, 1))
    flat = batch_nchw.reshape(count, channels, height * width)
    average = matrix @ flat.mean(dim=2, keepdim=True)
    offset = (1.0 - contrast).view(count, 1, 1) * average.mean(dim=1, keepdim=True)
    changed = torch.baddbmm(offset, matrix * contrast.view(count, 1, 1), flat)
    return changed.view(count, channels, height, width)


def draw_colour_matrices(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Matrices float32 [N, 3, 3] on RGB columns: brightness x white balance x saturation x hue rotation."""
    brightness = uniform(count, -augmentation.brightness, augmentation.brightness, generator).exp()
    saturation = uniform(count, -augmentation.saturation, augmentation.saturation, generator).exp()
    warmth = uniform(count, -augmentation.temperature, augmentation.temperature, generator)
    tint = uniform(count, -0.5 * augmentation.temperature, 0.5 * augmentation.temperature, generator)
    angle = uniform(count, -augmentation.hue, augmentation.hue, generator) * (math.pi / 180.0)
    gains = torch.stack((warmth, tint, -warmth), dim=1).exp() * brightness.unsqueeze(1)
    grey = torch.tensor(LUMINANCE).expand(3, 3)
    saturate = saturation.view(count, 1, 1) * torch.eye(3) + (1.0 - saturation).view(count, 1, 1) * grey
    return gains.unsqueeze(2) * (saturate @ _rotations_about_grey(angle))


def shade(batch_nchw: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Light that falls off across the image in a random direction, by up to ``strength`` at the far corners."""
    count, _, height, width = batch_nchw.shape
    direction = uniform(count, 0.0, 2.0 * math.pi, generator)
    slope = uniform(count, 0.0, strength, generator)
    x_slope = (slope * direction.cos()).to(batch_nchw.device).view(count, 1, 1, 1)
    y_slope = (slope * direction.sin()).to(batch_nchw.device).view(count, 1, 1, 1)
    x = torch.linspace(-1.0, 1.0, width, device=batch_nchw.device).view(1, 1, 1, width)
    y = torch.linspace(-1.0, 1.0, height, device=batch_nchw.device).view(1, 1, height, 1)
    return batch_nchw * (1.0 + x_slope * x + y_slope * y)


def _rotations_about_grey(angle: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] about the grey axis of the RGB cube: a change of hue that keeps greys grey."""
    cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    root = 1.0 / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -root, root], [root, 0.0, -root], [-root, root, 0.0]])
    return cosine * torch.eye(3) + sine * cross + (1.0 - cosine) * torch.full((3, 3), 1.0 / 3.0)
