"""One optimiser step: draw the augmented pictures, forward, loss, backward, update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edge_runtime.manifest import PatientMetadataSpec
from train.augment import Augmentation, augment
from train.configuration import TrainingConfiguration
from train.dataset import Batch, hide_metadata
from train.device import Compute
from train.losses import Loss, soft_targets
from train.mixing import mix_batch
from train.models import LesionModel, standardise


@dataclass
class Learner:
    """What a step changes (model, optimiser, average, loss scaling) and what it needs for that."""

    model: LesionModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    scaler: torch.amp.GradScaler
    loss: Loss
    augmentation: Augmentation
    compute: Compute
    configuration: TrainingConfiguration
    metadata_spec: PatientMetadataSpec | None

    @property
    def deployed(self) -> nn.Module:
        """The model to validate and deploy: the averaged one where averaging is on."""
        return self.model if self.average is None else self.average.module


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """Seed of everything random in one step: pictures depend on the step's number, not on what ran before."""
    return int(np.random.SeedSequence([seed, step, part]).generate_state(1, np.uint64)[0] >> 1)


def learn(learner: Learner, batch: Batch, step: int, size: int) -> float:
    """Do one optimiser step on ``batch`` seen at ``size`` pixels; returns the batch's mean loss."""
    learner.optimizer.zero_grad(set_to_none=True)
    parts = learner.configuration.accumulate
    total = 0.0
    for part, chunk in enumerate(_split_batch(batch, parts)):
        total += _backward(learner, chunk, step_seed(learner.configuration.seed, step, part), size, len(batch.labels))
    learner.scaler.unscale_(learner.optimizer)
    if learner.configuration.gradient_clip > 0:
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.configuration.gradient_clip)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    return total


def draw_pictures(learner: Learner, batch: Batch, generator: torch.Generator, size: int) -> torch.Tensor:
    """The augmented, not yet standardised pictures of a batch, float32 [N, 3, size, size] in 0..1."""
    return augment(batch.pictures.to(learner.compute.device), size, learner.augmentation, generator)


def _backward(learner: Learner, batch: Batch, seed: int, size: int, batch_size: int) -> float:
    """Add the gradient of this part of the batch; returns its share of the batch's mean loss."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from torch's global generator
    configuration, device = learner.configuration, learner.compute.device
    pictures = draw_pictures(learner, batch, generator, size)
    targets = soft_targets(batch.labels, configuration.label_smoothing).to(device)
    pictures, targets = mix_batch(pictures, targets, configuration, generator)
    metadata = None
    if batch.metadata is not None and learner.metadata_spec is not None:
        hidden = hide_metadata(batch.metadata, learner.metadata_spec, configuration.metadata_dropout, generator)
        metadata = hidden.to(device)
    with learner.compute.autocast():
        logits = learner.model(standardise(pictures).contiguous(memory_format=torch.channels_last), metadata)
    loss = learner.loss(logits, targets).sum() / batch_size
    learner.scaler.scale(loss).backward()
    return float(loss.detach())


def _split_batch(batch: Batch, parts: int) -> list[Batch]:
    if parts == 1:
        return [batch]
    pictures, labels = batch.pictures.chunk(parts), batch.labels.chunk(parts)
    metadata = [None] * len(labels) if batch.metadata is None else batch.metadata.chunk(parts)
    return [Batch(*chunk) for chunk in zip(pictures, labels, metadata, strict=True)]
