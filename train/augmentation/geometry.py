"""Geometric transforms of a batch: flips, any-angle rotation, zoom, stretch and shift in one resampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from train.augmentation.random import uniform

if TYPE_CHECKING:
    from train.augmentation.strengths import Augmentation


def warp(batch_nchw: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Float images [N, 3, H, W] → transformed images [N, 3, size, size], filled by reflection beyond the border.

    Reflection keeps the statistics of skin near the border; black corners would be a cue of their own.
    """
    matrices = draw_matrices(batch_nchw.shape[0], augmentation, generator)
    grid = _sampling_grid(matrices.to(batch_nchw.device), size)
    return functional.grid_sample(batch_nchw, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def draw_matrices(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Affine matrices float32 [N, 2, 3] from output to input positions, both on -1..1."""
    angle = uniform(count, -augmentation.rotation, augmentation.rotation, generator) * (math.pi / 180.0)
    zoom = uniform(count, -augmentation.zoom, augmentation.zoom, generator).exp()
    stretch = uniform(count, -augmentation.stretch, augmentation.stretch, generator).exp()
    shift = uniform(2 * count, -2 * augmentation.shift, 2 * augmentation.shift, generator).view(count, 2)
    flip_x = uniform(count, 0.0, 1.0, generator) < 0.5
    flip_y = uniform(count, 0.0, 1.0, generator) < 0.5
    horizontal, vertical = stretch / zoom, 1.0 / (stretch * zoom)
    if augmentation.flip:
        horizontal = torch.where(flip_x, -horizontal, horizontal)
        vertical = torch.where(flip_y, -vertical, vertical)
    cosine, sine = angle.cos(), angle.sin()
    rows = torch.stack((cosine * horizontal, -sine * vertical, sine * horizontal, cosine * vertical), dim=1)
    return torch.cat((rows.view(count, 2, 2), shift.unsqueeze(2)), dim=2)


def _sampling_grid(matrices: Tensor, size: int) -> Tensor:
    """``affine_grid`` for square images as sums of a row and a column, float32 [N, size, size, 2]: less work."""
    steps = (torch.arange(size, device=matrices.device, dtype=torch.float32) * 2 + 1) / size - 1
    along_x = matrices[:, :, 0, None] * steps  # [N, 2, size]
    along_y = matrices[:, :, 1, None] * steps + matrices[:, :, 2, None]
    return along_x.transpose(1, 2).unsqueeze(1) + along_y.transpose(1, 2).unsqueeze(2)
