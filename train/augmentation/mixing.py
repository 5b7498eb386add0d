"""Mixup and cutmix: images and targets of a batch blended with those of another image of the batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train.configuration import TrainingConfiguration


def mix_batch(
    batch_nchw: Tensor, targets: Tensor, configuration: TrainingConfiguration, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Blend images float [N, 3, H, W] and targets float [N, C] with a random partner each, or return them as is.

    Mixup: Zhang et al., ICLR 2018. Cutmix: Yun et al., ICCV 2019. With both on, each mixed batch uses one of them.
    """
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(configuration, kind) > 0]
    if not kinds:
        return batch_nchw, targets
    dice = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    if dice.random() >= configuration.mixing_probability:
        return batch_nchw, targets
    kind = kinds[int(dice.integers(len(kinds)))]
    alpha = getattr(configuration, kind)
    partner = torch.from_numpy(dice.permutation(len(batch_nchw))).to(batch_nchw.device)
    share = float(dice.beta(alpha, alpha))
    if kind == "mixup":
        return torch.lerp(batch_nchw[partner], batch_nchw, share), torch.lerp(targets[partner], targets, share)
    height, width = batch_nchw.shape[-2:]
    tall, broad = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
    top, left = int(dice.integers(height - tall + 1)), int(dice.integers(width - broad + 1))
    mixed = batch_nchw.clone()
    window = (slice(None), slice(None), slice(top, top + tall), slice(left, left + broad))
    mixed[window] = batch_nchw[partner][window]
    return mixed, torch.lerp(targets[partner], targets, 1.0 - tall * broad / (height * width))


def soft_targets(labels: Tensor, smoothing: float, classes: int) -> Tensor:
    """Class indices int64 [N] → target probabilities float32 [N, C], ``smoothing`` of them spread evenly over all."""
    targets = functional.one_hot(labels, classes).to(torch.float32)
    return targets * (1.0 - smoothing) + smoothing / classes
