"""Shift a checkpoint's probabilities towards the class frequencies of its training set, or back.

A network trained with logit adjustment assumes balanced classes. Adding the log frequency of each class to its logit
trades balanced accuracy for accuracy (Menon et al., ICLR 2021).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from train.data.class_balance import log_frequencies
from train.metrics.classification import summary_metrics
from train.metrics.temperature import apply_temperature
from train.model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKPOINT_KEY = "prior_shift"
"""Where :attr:`train.model.checkpoint.Checkpoint.extra` keeps the strength of the shift."""

_BIAS = "head.classifier.bias"


def shift_prior(checkpoint: Checkpoint, counts: NDArray[np.int64], strength: float) -> Checkpoint:
    """Return the checkpoint with ``strength`` times the log frequency of each class added to its logit.

    ``counts`` are images per class, int64 (C,). An earlier shift is undone first.
    """
    offset = (strength - prior_shift_of(checkpoint)) * log_frequencies(counts)
    state = dict(checkpoint.state_dict)
    state[_BIAS] = state[_BIAS] + torch.from_numpy(offset).float()
    return dataclasses.replace(checkpoint, state_dict=state, extra={**checkpoint.extra, CHECKPOINT_KEY: strength})


def prior_shift_of(checkpoint: Checkpoint) -> float:
    """Return the strength of the shift that the checkpoint has, 0 for none."""
    return float(checkpoint.extra.get(CHECKPOINT_KEY, 0.0))


def prior_shift_table(
    logits: NDArray[np.floating], truth: NDArray[np.int64], counts: NDArray[np.int64], current: float
) -> str:
    """Return the validation metrics at several strengths of the prior shift, one line each, to choose by.

    ``logits`` (N, C) are uncalibrated, of a checkpoint whose shift is ``current``; ``truth`` is (N,), ``counts`` (C,).
    """
    frequency = log_frequencies(counts)
    lines = ["prior shift  accuracy  balanced accuracy  macro F1   (validation set)"]
    for strength in sorted({*np.linspace(0.0, 1.0, 6).round(2).tolist(), current}):
        metrics = summary_metrics(truth, apply_temperature(logits + (strength - current) * frequency))
        mark = "  <- this checkpoint" if strength == current else ""
        lines.append(
            f"{strength:11.2f} {metrics['accuracy']:9.1%} {metrics['balanced_accuracy']:18.1%} "
            f"{metrics['macro_f1']:9.3f}{mark}"
        )
    return "\n".join(lines)
