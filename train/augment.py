"""Augmentation of whole batches as tensors: presets, and the one function that applies them.

torchvision.transforms.v2 draws one set of parameters a call, so a batch needs a Python loop over its pictures; one
``grid_sample`` and one batched colour matrix with parameters per picture take a fraction of its time
(``python -m train.bench_augmentation``).
All randomness comes from the generator that is handed in, so a step's pictures can be drawn again exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.errors import DataError
from train.augment_camera import change_sharpness, compress_as_jpeg, cut_out, draw_hairs, make_noisy
from train.augment_colour import change_colours, shade
from train.augment_geometry import warp
from train.models import standardise


@dataclass(frozen=True)
class Augmentation:
    """Strengths (0: off). Angles in degrees; lengths and shifts as fractions of the side; ``*_share`` of the pictures.

    ``zoom`` z draws a magnification of exp(uniform(-z, z)); the other factors likewise.
    """

    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    temperature: float = 0.0
    hue: float = 0.0
    illumination: float = 0.0
    sharpness_share: float = 0.0
    noise_share: float = 0.0
    jpeg_share: float = 0.0
    hair_share: float = 0.0
    cutout_share: float = 0.0

    @property
    def is_geometric(self) -> bool:
        """Whether pictures are moved at all."""
        return self.flip or any((self.rotation, self.zoom, self.stretch, self.shift))

    @property
    def is_chromatic(self) -> bool:
        """Whether colours are changed at all."""
        return any((self.brightness, self.contrast, self.saturation, self.gamma, self.temperature, self.hue))


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "seed": Augmentation(flip=True, rotation=180.0),
    "strong": Augmentation(
        flip=True,
        rotation=180.0,
        zoom=0.25,
        stretch=0.1,
        shift=0.08,
        brightness=0.2,
        contrast=0.2,
        saturation=0.25,
        gamma=0.2,
        temperature=0.12,
        hue=8.0,
        illumination=0.2,
        sharpness_share=0.25,
        noise_share=0.1,
        jpeg_share=0.1,
        hair_share=0.1,
        cutout_share=0.2,
    ),
    "extreme": Augmentation(
        flip=True,
        rotation=180.0,
        zoom=0.4,
        stretch=0.15,
        shift=0.12,
        brightness=0.35,
        contrast=0.35,
        saturation=0.4,
        gamma=0.35,
        temperature=0.25,
        hue=15.0,
        illumination=0.35,
        sharpness_share=0.4,
        noise_share=0.2,
        jpeg_share=0.2,
        hair_share=0.2,
        cutout_share=0.3,
    ),
}


def find_preset(name: str) -> Augmentation:
    """Return the preset of that name. Raises :class:`DataError`."""
    if name not in PRESETS:
        raise DataError(f"--augmentation: expected one of {', '.join(PRESETS)}, found {name!r}")
    return PRESETS[name]


def augment(batch_nhwc: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """``uint8`` pictures [N, H, W, 3] → augmented float32 pictures [N, 3, size, size] in 0..1.

    ``generator`` lives on the processor, whatever the batch's device: parameters are drawn there.
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
    """``uint8`` pictures [N, H, W, 3] → standardised float32 [N, 3, size, size], antialiased, nothing random."""
    batch = _to_float(batch_nhwc)
    if batch.shape[-1] != size:
        batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return standardise(batch)


def _to_float(batch_nhwc: Tensor) -> Tensor:
    """``uint8`` [N, H, W, 3] → float32 [N, 3, H, W] in 0..1, plane by plane: moving pictures is a fifth faster so."""
    planes = batch_nhwc.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.div_(255.0)
