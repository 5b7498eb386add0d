"""Why batches are augmented by own tensor code: its time beside that of torchvision's transforms on each image.

    python -m train.augmentation.benchmark [--batch-size 32] [--image-size 224] [--threads 1]

torchvision draws one set of parameters a call, so that images must go through one by one. Its pipelines here are the
closest to the presets ``seed`` and ``strong`` that it can express; hair, uneven light, noise and JPEG are left out of
its side, so it has less to do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms

from edge_runtime.errors import run_command_line
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.settings import OneLineParser, parse_settings
from train.augmentation.batch import augment
from train.augmentation.strengths import Augmentation, find_preset


def torchvision_pipeline(preset: Augmentation, size: int) -> transforms.Compose:
    """Return what torchvision has for a preset: ``uint8`` image [3, H, W] to float32 [3, size, size] in 0..1."""
    chain: list[torch.nn.Module] = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(),
        transforms.RandomAffine(
            preset.rotation,
            translate=(preset.shift, preset.shift),
            scale=(float(np.exp(-preset.zoom)), float(np.exp(preset.zoom))),
            interpolation=InterpolationMode.BILINEAR,
        ),
        transforms.Resize((size, size), antialias=True),
        transforms.ToDtype(torch.float32, scale=True),
    ]
    if preset.is_chromatic:
        chain.append(
            transforms.ColorJitter(preset.brightness, preset.contrast, preset.saturation, hue=preset.hue / 360)
        )
    if preset.sharpness_share:
        chain.append(transforms.RandomApply([transforms.GaussianBlur(9, 2.0)], preset.sharpness_share))
    if preset.cutout_share:
        chain.append(transforms.RandomErasing(preset.cutout_share))
    return transforms.Compose(chain)


def milliseconds(work: Callable[[], Tensor], rounds: int) -> float:
    """Return the median CPU time of a call over all threads: what the network does not get."""
    work()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e3 * float(np.median(times))


class BenchmarkOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.augmentation.benchmark``."""

    batch_size: Annotated[int, Meta(ge=1, description="images per batch")] = 32
    image_size: Annotated[int, Meta(ge=32, le=4096, description="side of the augmented images")] = INPUT_SIZE
    rounds: Annotated[int, Meta(ge=1, description="measured batches; medians are printed")] = 15
    threads: Annotated[int, Meta(ge=1, le=1024, description="CPU threads")] = 1


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each preset; returns the exit status."""
    parser = OneLineParser(
        prog="python -m train.augmentation.benchmark",
        description="Time of augmenting a batch: this project's tensors against torchvision's transforms.",
    )
    flags = parse_settings(parser, BenchmarkOptions, arguments)
    torch.set_num_threads(flags.threads)
    shape = (flags.batch_size, INPUT_SIZE, INPUT_SIZE, 3)
    batch_nhwc = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    batch_nchw = batch_nhwc.permute(0, 3, 1, 2).contiguous()
    generator = torch.Generator().manual_seed(0)
    for name in ("seed", "strong"):
        preset = find_preset(name)
        pipeline = torchvision_pipeline(preset, flags.image_size)
        own = milliseconds(lambda one=preset: augment(batch_nhwc, flags.image_size, one, generator), flags.rounds)  # type: ignore[misc]
        theirs = milliseconds(lambda one=pipeline: torch.stack([one(image) for image in batch_nchw]), flags.rounds)  # type: ignore[misc]
        times = f"{own:.0f} ms of CPU time per batch, torchvision {theirs:.0f} ms"
        print(f"{name}: {times} ({theirs / own:.1f} times as long)")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
