"""Loss functions over soft targets, and class weights.

Every loss is a mean over samples of a sum over classes, and class weights have mean one over the training pictures;
so a batch split into parts, on one machine or several, gives the same gradient as the batch in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.classes import CLASS_CODES
from train.configuration import TrainingConfiguration

if TYPE_CHECKING:
    from numpy.typing import NDArray

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits float [N, C] and target probabilities float [N, C] → loss per sample, float [N]."""


def class_counts(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Pictures per class, int64 [C]."""
    return np.bincount(labels, minlength=len(CLASS_CODES)).astype(np.int64)


def log_frequencies(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of each class's share of the pictures, float64 [C]; a class without pictures counts as having one."""
    return np.log(np.maximum(counts, 1) / max(int(counts.sum()), 1))


def class_weights(labels: NDArray[np.integer[Any]], power: float) -> NDArray[np.float64]:
    """Inverse frequency to ``power``, float64 [C], with mean one over the pictures; 0 for classes without pictures."""
    counts = class_counts(labels)
    raw = np.where(counts > 0, np.maximum(counts, 1) ** -float(power), 0.0)
    return raw * counts.sum() / (raw * counts).sum()


def soft_targets(labels: Tensor, smoothing: float) -> Tensor:
    """Class indices int64 [N] → target probabilities float32 [N, C], ``smoothing`` of them spread evenly."""
    targets = functional.one_hot(labels, len(CLASS_CODES)).to(torch.float32)
    return targets * (1.0 - smoothing) + smoothing / len(CLASS_CODES)


def make_loss(configuration: TrainingConfiguration, labels: NDArray[np.integer[Any]], device: torch.device) -> Loss:
    """Return the configured loss for training pictures with these ``labels``."""
    kind = configuration.loss
    if kind == "cross-entropy":
        return _cross_entropy
    if kind == "logit-adjusted":
        adjustment = configuration.logit_adjustment * log_frequencies(class_counts(labels))
        shift = torch.tensor(adjustment, dtype=torch.float32, device=device)
        return lambda logits, targets: _cross_entropy(logits + shift, targets)
    weights = torch.tensor(class_weights(labels, configuration.class_weight_power), dtype=torch.float32, device=device)
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
