"""One optimiser step: augmentation, forward, loss, backward, update."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from train.augmentation.batch import augment
from train.augmentation.mixing import mix_batch, soft_targets
from train.data.dataset import Batch, hide_metadata
from train.learning.learner import Learner
from train.model.architectures import standardise


def step_seed(seed: int, step: int, chunk: int) -> int:
    """Seed of everything random in one chunk of a step's batch: a function of numbers, not of what ran before."""
    return int(np.random.SeedSequence([seed, step, chunk]).generate_state(1, np.uint64)[0] >> 1)


def learn(learner: Learner, batch: Batch, step: int, size: int) -> float:
    """Do one optimiser step on this worker's ``batch`` seen at ``size`` pixels.

    Returns the mean loss, times this worker's share of the whole batch: the sum over workers is the batch's mean.
    """
    configuration, workers = learner.configuration, learner.workers
    learner.optimizer.zero_grad(set_to_none=True)
    chunks = _split_batch(batch, configuration.accumulate)
    whole = workers.sum(len(batch.labels))
    total = 0.0
    for position, chunk in enumerate(chunks):
        seed = step_seed(configuration.seed, step, workers.rank * configuration.accumulate + position)
        with learner.without_exchange(last=position == len(chunks) - 1):
            loss = _loss(learner, chunk, seed, size) / whole
            # data parallelism averages gradients over the workers, and a mean over the whole batch is wanted
            learner.scaler.scale(loss * workers.count).backward()
        total += float(loss.detach())
    learner.scaler.unscale_(learner.optimizer)
    if configuration.gradient_clip > 0:
        nn.utils.clip_grad_norm_(learner.model.parameters(), configuration.gradient_clip)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    return total


def _loss(learner: Learner, batch: Batch, seed: int, size: int) -> Tensor:
    """Sum of the losses of one chunk of a batch."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout samples from torch's global generator
    configuration, device = learner.configuration, learner.compute.device
    images = augment(batch.images.to(device), size, learner.augmentation, generator)
    targets = soft_targets(batch.labels, configuration.label_smoothing, learner.model.classes).to(device)
    images, targets = mix_batch(images, targets, configuration, generator)
    images = standardise(images).contiguous(memory_format=torch.channels_last)
    known = None if batch.metadata is None else batch.metadata.to(device)
    metadata = None
    if batch.metadata is not None and learner.metadata_spec is not None:
        hidden = hide_metadata(batch.metadata, learner.metadata_spec, configuration.metadata_dropout, generator)
        metadata = hidden.to(device)
    with learner.compute.autocast():
        logits = learner.forward(images, metadata)
    losses = learner.loss(logits, targets)
    if learner.teacher is not None:
        with learner.compute.autocast():
            taught = learner.teacher.probabilities(images, known, generator)
        losses = torch.lerp(losses, learner.teacher.loss(logits, taught), learner.teacher.weight)
    return losses.sum()


def _split_batch(batch: Batch, chunks: int) -> list[Batch]:
    if chunks == 1:
        return [batch]
    images, labels = batch.images.chunk(chunks), batch.labels.chunk(chunks)
    metadata = [None] * len(labels) if batch.metadata is None else batch.metadata.chunk(chunks)
    return [Batch(*chunk) for chunk in zip(images, labels, metadata, strict=True)]
