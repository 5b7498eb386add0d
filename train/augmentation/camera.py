"""What cameras, file formats and skin add to an image: blur, sharpening, noise, JPEG blocks, hairs, occlusions.

Each works on a share of the images of a batch, so its cost is that share of its full cost.
"""

from __future__ import annotations

import functools
import io
import itertools

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from train.augmentation.random import chosen, uniform

HAIR_MASKS = 48
HAIR_MASK_SIZE = 256
HAIR_TINT = (1.3, 1.0, 0.8)
"""Dark brown rather than grey: how much of the tone each of R, G, B gets."""


def change_sharpness(batch_nchw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blur a share of the images, and sharpen as many: moves along the line from the image to its blurred self."""
    where = chosen(batch_nchw.shape[0], share, generator).to(batch_nchw.device)
    amount = uniform(len(where), -1.0, 1.0, generator).to(batch_nchw.device).view(-1, 1, 1, 1)
    wide = bool(torch.rand(1, generator=generator) < 0.5)
    if len(where) == 0:
        return batch_nchw
    part = batch_nchw[where]
    blurred = blur(part, 2.0 if wide else 1.0)
    batch_nchw[where] = torch.lerp(part, blurred, amount.clamp(min=-0.7)).clamp_(0.0, 1.0)
    return batch_nchw


def blur(batch_nchw: Tensor, deviation: float) -> Tensor:
    """Gaussian blur cut off at two standard deviations, with reflection at the border.

    The same as torchvision's ``gaussian_blur`` with a kernel of 4 × ``deviation`` + 1, but as sums of shifted images,
    along the rows and then the columns: 4 instead of 18 ms for eight images of 224 pixels on one core.
    """
    reach = round(2 * deviation)
    weights = torch.exp(-(torch.arange(reach + 1.0) ** 2) / (2 * deviation**2))
    shares = (weights / (weights[0] + 2 * weights[1:].sum())).tolist()
    padded = functional.pad(batch_nchw, [reach] * 4, mode="reflect")
    for axis in (3, 2):
        length = batch_nchw.shape[axis]
        blurred = padded.narrow(axis, reach, length) * shares[0]
        for distance, share in enumerate(shares[1:], start=1):
            before, after = (padded.narrow(axis, reach + offset, length) for offset in (-distance, distance))
            blurred.add_(before + after, alpha=share)
        padded = blurred
    return padded


def make_noisy(batch_nchw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise with a standard deviation of up to 0.04 to a share of the images."""
    where = chosen(batch_nchw.shape[0], share, generator).to(batch_nchw.device)
    strength = uniform(len(where), 0.005, 0.04, generator).to(batch_nchw.device).view(-1, 1, 1, 1)
    if len(where):
        noise = torch.randn((len(where), *batch_nchw.shape[1:]), generator=generator).to(batch_nchw.device)
        batch_nchw[where] += noise * strength
    return batch_nchw


def compress_as_jpeg(batch_nhwc: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Compress a share of the ``uint8`` images [N, H, W, 3] as JPEG at quality 25 to 75; returns a new batch."""
    where = chosen(batch_nhwc.shape[0], share, generator)
    qualities = uniform(len(where), 25.0, 75.0, generator).int().tolist()
    batch_nhwc = batch_nhwc.clone()
    for position, quality in zip(where.tolist(), qualities, strict=True):
        stream = io.BytesIO()
        Image.fromarray(batch_nhwc[position].cpu().numpy()).save(stream, format="JPEG", quality=quality)
        batch_nhwc[position] = torch.from_numpy(np.array(Image.open(stream))).to(batch_nhwc.device)
    return batch_nhwc


def draw_hairs(batch_nchw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Lay dark hairs over a share of the images [N, 3, H, W] in 0..1."""
    count, _, height, width = batch_nchw.shape
    where = chosen(count, share, generator).to(batch_nchw.device)
    picks = torch.randint(HAIR_MASKS, (len(where),), generator=generator)
    tone = uniform(len(where), 0.02, 0.25, generator).to(batch_nchw.device).view(-1, 1, 1, 1)
    if len(where) == 0:
        return batch_nchw
    masks = _hair_masks()[picks].to(batch_nchw.device)
    if (height, width) != (HAIR_MASK_SIZE, HAIR_MASK_SIZE):
        masks = functional.interpolate(masks, size=(height, width), mode="bilinear", antialias=True)
    colour = tone * tone.new_tensor(HAIR_TINT).view(1, 3, 1, 1)
    batch_nchw[where] = torch.lerp(batch_nchw[where], colour, masks)
    return batch_nchw


def cut_out(batch_nchw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Cover a rectangle of up to a ninth of a share of the images with the image's mean colour."""
    count, _, height, width = batch_nchw.shape
    for position in chosen(count, share, generator).tolist():
        box = torch.rand(4, generator=generator).tolist()
        tall, broad = int(height * (0.1 + 0.233 * box[0])), int(width * (0.1 + 0.233 * box[1]))
        top, left = int((height - tall) * box[2]), int((width - broad) * box[3])
        colour = batch_nchw[position].mean(dim=(1, 2), keepdim=True)
        batch_nchw[position, :, top : top + tall, left : left + broad] = colour
    return batch_nchw


@functools.cache
def _hair_masks() -> Tensor:
    """Fixed set of hair drawings, float32 [HAIR_MASKS, 1, size, size] in 0..1, drawn at double size."""
    generator = np.random.default_rng(20180814)
    masks = []
    for _ in range(HAIR_MASKS):
        side = 2 * HAIR_MASK_SIZE
        canvas = Image.new("L", (side, side))
        draw = ImageDraw.Draw(canvas)
        growth = generator.uniform(0.0, 2.0 * np.pi)  # hairs of one place of skin lie roughly one way
        for _ in range(int(generator.integers(3, 18))):
            _draw_hair(draw, side, growth + generator.normal(0.0, 0.4), generator)
        small = canvas.resize((HAIR_MASK_SIZE, HAIR_MASK_SIZE), Image.Resampling.BOX)
        masks.append(np.asarray(small, dtype=np.float32) / 255.0)
    return torch.from_numpy(np.stack(masks)).unsqueeze(1)


def _draw_hair(draw: ImageDraw.ImageDraw, side: int, direction: float, generator: np.random.Generator) -> None:
    """Draw one bent hair that runs along ``direction`` (radians) and thins out to its tip."""
    root = generator.uniform(-0.3, 1.1, 2) * side
    reach = np.array([np.cos(direction), np.sin(direction)]) * generator.uniform(0.4, 1.4) * side
    bend = root + reach / 2 + generator.normal(0.0, 0.12, 2) * side
    t = np.linspace(0.0, 1.0, 24)[:, None]
    curve = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * (root + reach)
    opacity, thickness = int(generator.integers(120, 256)), int(generator.integers(2, 7))
    for position, (start, end) in enumerate(itertools.pairwise(curve.tolist())):
        width = max(1, round(thickness * (1.0 - (position / 23) ** 3)))
        draw.line([tuple(start), tuple(end)], fill=opacity, width=width)
