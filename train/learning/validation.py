"""A model's predictions for a whole data set."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from train.augmentation.batch import resize_batch
from train.data.dataset import LesionDataset, make_loader
from train.learning.device import Compute
from train.learning.distribution import Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@torch.no_grad()
def predict_logits(
    model: nn.Module,
    dataset: LesionDataset,
    compute: Compute,
    *,
    size: int,
    classes: int,
    workers: Workers = Workers(),  # noqa: B008  frozen
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """Logits float64 [N, C] of all images of ``dataset`` in order, seen at ``size`` pixels.

    Several workers share the images, and each returns the logits of all. The model's mode is left as it was.
    """
    was_training = model.training
    model.eval()
    rows = [np.empty((0, classes))]
    mine = workers.share(np.arange(len(dataset)))
    batches = [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]
    hidden = not (workers.is_first and sys.stderr.isatty())
    for batch in tqdm(make_loader(dataset, batches), desc="validating", unit="batch", leave=False, disable=hidden):
        images = resize_batch(batch.images.to(compute.device), size)
        metadata = None if batch.metadata is None else batch.metadata.to(compute.device)
        with compute.autocast():
            logits = model(images, metadata)
        rows.append(logits.double().cpu().numpy())
    model.train(was_training)
    return workers.concatenate(np.concatenate(rows))
