"""Exponential moving average of the weights, by torch's own averaged model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Average weights and buffers with ``decay`` per step, less in the first steps, so that the start is forgotten."""

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        steps = float(count)
        share = 1.0 - min(decay, (1.0 + steps) / (10.0 + steps))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), share)
        else:
            torch._foreach_copy_(list(averaged), list(current))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
