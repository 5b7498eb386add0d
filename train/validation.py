"""A model's answers for a whole data set."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from train.augment import resize_batch
from train.dataset import LesionDataset, make_loader, sequential_batches
from train.device import Compute

if TYPE_CHECKING:
    from numpy.typing import NDArray


@torch.no_grad()
def predict_logits(
    model: nn.Module, dataset: LesionDataset, compute: Compute, *, size: int, batch_size: int = 64
) -> NDArray[np.float64]:
    """Logits float64 [N, C] of all pictures of ``dataset`` in order, seen at ``size`` pixels. Leaves the mode as is."""
    was_training = model.training
    model.eval()
    rows = []
    loader = make_loader(dataset, sequential_batches(len(dataset), batch_size))
    for batch in tqdm(loader, desc="validating", unit="batch", leave=False, disable=not sys.stderr.isatty()):
        pictures = resize_batch(batch.pictures.to(compute.device), size)
        metadata = None if batch.metadata is None else batch.metadata.to(compute.device)
        with compute.autocast():
            logits = model(pictures, metadata)
        rows.append(logits.double().cpu().numpy())
    model.train(was_training)
    return np.concatenate(rows)
