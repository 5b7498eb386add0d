"""Random numbers for augmentation, all from the generator that is handed in."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """``count`` float32 numbers between ``low`` and ``high``."""
    return torch.rand(count, generator=generator) * (high - low) + low


def chosen(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Positions of the images an effect is applied to, each with probability ``share``: int64 [K]."""
    return (torch.rand(count, generator=generator) < share).nonzero().flatten()
