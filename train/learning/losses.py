"""Loss functions over soft targets.

Every loss is a mean over samples of a sum over classes, and class weights have mean one over the training images;
so a batch split into chunks, on one machine or several, gives the same gradient as the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from train.configuration import TrainingConfiguration
from train.data.class_balance import class_counts, class_weights, log_frequencies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits float [N, C] and target probabilities float [N, C] → loss per sample, float [N]."""


def make_loss(
    configuration: TrainingConfiguration, labels: NDArray[np.integer[Any]], classes: int, device: torch.device
) -> Loss:
    """Return the configured loss for training images with these ``labels``, of so many classes."""
    kind = configuration.loss
    if kind == "cross-entropy":
        return _cross_entropy
    if kind == "logit-adjusted":
        adjustment = configuration.logit_adjustment * log_frequencies(class_counts(labels, classes))
        shift = torch.tensor(adjustment, dtype=torch.float32, device=device)
        return lambda logits, targets: _cross_entropy(logits + shift, targets)
    weights = torch.tensor(
        class_weights(labels, configuration.class_weight_power, classes), dtype=torch.float32, device=device
    )
    if kind == "focal":
        gamma = configuration.focal_gamma
        return lambda logits, targets: _focal(logits, targets * weights, gamma)
    return lambda logits, targets: _cross_entropy(logits, targets * weights)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * functional.log_softmax(logits.float(), dim=1)).sum(dim=1)


def _focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017), generalised to soft targets class by class."""
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    return -(targets * (1.0 - log_probabilities.exp()).clamp(min=1e-6) ** gamma * log_probabilities).sum(dim=1)
