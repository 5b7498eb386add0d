"""How close the training loop comes to bare forward and backward passes, and whether memory grows with the data.

    python -m train.learning.benchmark [--data data/ham10000] [--image-size 224] [--json]

The loop (fetch, augment, forward, loss, backward, clipping, optimiser step, averaging of weights) and the bare
forward and backward pass of one batch that is already in memory alternate in one process, so that both see the same
machine. A round's ratio is the loop's images per second over those of the bare pass; the median over the rounds is
printed.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from msgspec import Meta

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import run_command_line
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.settings import OneLineParser, make_settings, parse_settings
from train.augmentation.batch import resize_batch
from train.augmentation.mixing import soft_targets
from train.configuration import TrainingConfiguration
from train.data.cache import ImageCache
from train.data.dataset import Batch, LesionDataset, epoch_batches, make_loader
from train.data.records import LesionRecord
from train.files import replacing
from train.learning.distribution import Workers
from train.learning.learner import Learner, make_learner
from train.learning.step import learn

GROWTH_SIZES = (500, 5000)


def measure(configuration: TrainingConfiguration, dataset: LesionDataset, rounds: int, steps: int) -> dict[str, Any]:
    """Images per second of the loop and of the bare passes over ``rounds`` rounds of ``steps`` each; medians."""
    with contextlib.redirect_stdout(sys.stderr):  # results alone go to stdout
        learner = make_learner(configuration, dataset.labels, ham10000(), None, Workers())
    learner.begin(only_new=False)
    batches = epoch_batches(dataset.labels, configuration.batch_size, configuration.seed, 0)
    needed = [batches[index % len(batches)] for index in range(rounds * steps + 2)]
    fetched = iter(make_loader(dataset, needed))
    first = next(fetched)
    images = resize_batch(first.images.to(learner.compute.device), configuration.image_size)
    images = images.contiguous(memory_format=torch.channels_last)
    _bare_pass(learner, images, first)  # warm up both
    learn(learner, next(fetched), 0, configuration.image_size)
    loop, bare = [], []
    with PeakMemory() as memory:
        for turn in range(rounds):
            started = time.perf_counter()
            for step in range(steps):
                learn(learner, next(fetched), turn * steps + step, configuration.image_size)
            middle = time.perf_counter()
            for _ in range(steps):
                _bare_pass(learner, images, first)
            loop.append(steps * configuration.batch_size / (middle - started))
            bare.append(steps * configuration.batch_size / (time.perf_counter() - middle))
    ratios = np.array(loop) / np.array(bare)
    return {
        "images": len(dataset),
        "loop_images_per_second": float(np.median(loop)),
        "bare_images_per_second": float(np.median(bare)),
        "ratio": float(np.median(ratios)),
        "ratio_quartiles": [float(value) for value in np.percentile(ratios, [25, 75])],
        "peak_own_memory_mb": memory.own_mb,
        "peak_resident_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "compute": learner.compute.describe(),
    }


def _bare_pass(learner: Learner, images: torch.Tensor, batch: Batch) -> None:
    learner.optimizer.zero_grad(set_to_none=True)
    targets = soft_targets(batch.labels, 0.0, learner.model.classes).to(images.device)
    with learner.compute.autocast():
        logits = learner.model(images)
    (learner.loss(logits, targets).sum() / len(targets)).backward()


class PeakMemory:
    """Peak anonymous memory of this process inside the block, in 10^6 bytes, sampled every 20 ms.

    Mapped files do not count: the pages of the cache belong to the system, which reclaims them when memory is short.
    """

    def __init__(self) -> None:
        self.own_mb = _own_memory_mb()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.own_mb = max(self.own_mb, _own_memory_mb())


def _own_memory_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def generated_dataset(images: int, folder: Path) -> LesionDataset:
    """A cache file of random images of the deployed size, for measuring without data."""
    generator = np.random.default_rng(0)
    path = folder / f"bench-{images}.rgb"
    shape = (images, INPUT_SIZE, INPUT_SIZE, 3)
    if not path.is_file() or path.stat().st_size != np.prod(shape):
        with replacing(path) as temporary, temporary.open("wb") as file:
            for _ in range(images):
                file.write(generator.integers(0, 256, shape[1:], dtype=np.uint8).tobytes())
    ids = tuple(f"generated-{number:06d}" for number in range(images))
    records = [LesionRecord(one, path, one, number % 7) for number, one in enumerate(ids)]
    cache = ImageCache(ids, np.memmap(path, np.uint8, mode="r", shape=shape), ids, ids, {})
    return LesionDataset(cache, records, range(images))


def _measure_growth(arguments: list[str]) -> list[dict[str, Any]]:
    """One fresh process per size, so that each peak is its own."""
    results = []
    for images in GROWTH_SIZES:
        command = [sys.executable, "-m", "train.learning.benchmark", *arguments, "--images", str(images), "--json"]
        results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))  # noqa: S603
    return results


_SHARED = ("architecture", "augmentation", "image_size", "batch_size", "ema", "precision", "threads", "cache_folder")
"""Settings that mean here what they mean to a training run."""


class BenchmarkOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.learning.benchmark``."""

    architecture: Annotated[str, Meta(description="one of the registered architectures")] = "resnet18"
    augmentation: Annotated[str, Meta(description="augmentation preset")] = "seed"
    image_size: Annotated[int, Meta(ge=32, le=4096, description="side of the training images")] = INPUT_SIZE
    batch_size: Annotated[int, Meta(ge=2, le=65_536, description="images per optimiser step")] = 32
    ema: Annotated[float, Meta(ge=0, le=0.999999, description="decay of the averaged weights; 0: no averaging")] = 0.0
    precision: Annotated[str, Meta(description="numeric precision")] = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024, description="CPU threads; none: torch's choice")] | None = None
    rounds: Annotated[int, Meta(ge=1, description="rounds, in each of which both are measured")] = 7
    steps: Annotated[int, Meta(ge=1, description="steps per round")] = 4
    images: (
        Annotated[int, Meta(ge=1, description=f"generated images; none: {GROWTH_SIZES[0]}, then {GROWTH_SIZES[1]}")]
        | None
    ) = None
    cache_folder: Annotated[
        str, Meta(description="where the generated images are kept", extra={"metavar": "FOLDER"})
    ] = "data/cache"
    json: Annotated[bool, Meta(description="print one JSON object")] = False


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements; returns the exit status."""
    parser = OneLineParser(
        prog="python -m train.learning.benchmark",
        description="Images per second of the training loop against the bare forward and backward pass.",
        epilog="example: python -m train.learning.benchmark --image-size 160 --augmentation strong",
    )
    flags = parse_settings(parser, BenchmarkOptions, arguments)
    shared = {name: getattr(flags, name) for name in _SHARED}
    configuration = make_settings(TrainingConfiguration, {**shared, "init": "none"})
    if configuration.threads is not None:
        torch.set_num_threads(configuration.threads)
    if flags.images is None:
        given = [one for one in (arguments if arguments is not None else sys.argv[1:]) if one != "--json"]
        results = _measure_growth(given)
    else:
        results = [
            measure(configuration, generated_dataset(flags.images, Path(flags.cache_folder)), flags.rounds, flags.steps)
        ]
    if flags.json:
        print(json.dumps(results if flags.images is None else results[0]))
        return 0
    for row in results:
        print(
            f"{row['images']} images: loop {row['loop_images_per_second']:.1f} img/s, bare forward and backward "
            f"{row['bare_images_per_second']:.1f} img/s, ratio {row['ratio']:.3f} (quartiles "
            f"{row['ratio_quartiles'][0]:.3f} to {row['ratio_quartiles'][1]:.3f}), peak memory "
            f"{row['peak_own_memory_mb']:.0f} MB of its own, {row['peak_resident_memory_mb']:.0f} MB with the mapped "
            f"cache; {row['compute']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
