"""Augmentation of whole batches as tensors: the one function that applies a preset.

torchvision.transforms.v2 samples one set of parameters per call, so a batch needs a Python loop over its images; one
``grid_sample`` and one batched colour matrix with parameters per image takes a fraction of its time
(``python -m train.augmentation.benchmark``).
All randomness comes from the generator that is handed in, so a step's images can be reproduced exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from train.augmentation.camera import change_sharpness, compress_as_jpeg, cut_out, draw_hairs, make_noisy
from train.augmentation.colour import change_colours, shade
from train.augmentation.geometry import warp
from train.augmentation.strengths import Augmentation
from train.model.architectures import standardise


def augment(batch_nhwc: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """``uint8`` images [N, H, W, 3] → augmented float32 images [N, 3, size, size] in 0..1.

    ``generator`` is a CPU generator, whatever the batch's device: parameters are sampled there.
    """
    if augmentation.jpeg_share:
        batch_nhwc = compress_as_jpeg(batch_nhwc, augmentation.jpeg_share, generator)
    batch = _to_float(batch_nhwc)
    if augmentation.is_geometric:
        batch = warp(batch, size, augmentation, generator)
    elif batch.shape[-1] != size:
        batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    if augmentation.hair_share:
        batch = draw_hairs(batch, augmentation.hair_share, generator)
    if augmentation.sharpness_share:
        batch = change_sharpness(batch, augmentation.sharpness_share, generator)
    if augmentation.is_chromatic:
        batch = change_colours(batch, augmentation, generator)
    if augmentation.illumination:
        batch = shade(batch, augmentation.illumination, generator)
    if augmentation.noise_share:
        batch = make_noisy(batch, augmentation.noise_share, generator)
    if augmentation.cutout_share:
        batch = cut_out(batch, augmentation.cutout_share, generator)
    return batch.clamp_(0.0, 1.0) if augmentation.is_chromatic or augmentation.noise_share else batch


def resize_batch(batch_nhwc: Tensor, size: int) -> Tensor:
    """``uint8`` images [N, H, W, 3] → standardised float32 [N, 3, size, size], antialiased, nothing random."""
    batch = _to_float(batch_nhwc)
    if batch.shape[-1] != size:
        batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return standardise(batch)


def _to_float(batch_nhwc: Tensor) -> Tensor:
    """``uint8`` [N, H, W, 3] → float32 [N, 3, H, W] in 0..1, plane by plane: moving images is a fifth faster so."""
    planes = batch_nhwc.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.div_(255.0)
