"""Small images in the HAM10000 layout, and quick settings of a run."""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edge_runtime.bundle.classes import ham10000
from train.configuration import TrainingConfiguration
from train.model.architectures import ARCHITECTURES, Architecture, Parts


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other


def cut_tiny_network(name: str) -> Parts:
    """A backbone of two convolutions, so that a test waits for the loop and not for convolutions."""
    features = nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            body=nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        )
    )
    return Parts(features, 16, None, 16)


@pytest.fixture(scope="session", autouse=True)
def _tiny_architecture() -> Iterator[None]:
    ARCHITECTURES["tiny"] = Architecture(cut_tiny_network, (("", "features."),))
    yield
    del ARCHITECTURES["tiny"]


def write_tiny_ham10000(folder: Path, per_class: int = 8, seed: int = 0) -> Path:
    """Images whose colour tells the class, two of each lesion; some ages, sexes and sites are missing."""
    generator = np.random.default_rng(seed)
    parts = [folder / "HAM10000_images_part_1", folder / "HAM10000_images_part_2"]
    for part in parts:
        part.mkdir(parents=True)
    rows = []
    for label, code in enumerate(ham10000().codes):
        colour = 60 + 150 * np.array([label >> 2 & 1, label >> 1 & 1, label & 1])
        for number in range(per_class):
            image_id = f"ISIC_{label:03d}{number:04d}"
            coarse = colour + generator.normal(0, 40, (6, 8, 3))
            image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
            image.save(parts[number % 2] / f"{image_id}.jpg", quality=90)
            known = number % 4
            age, sex = ("" if known == 1 else str(40.0 + label)), ("unknown" if known == 2 else "female")
            rows.append((f"HAM_{label:03d}{number // 2:04d}", image_id, code, "histo", age, sex, "back"))
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"))
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def tiny_ham10000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only by agreement: 7 classes of 8 images of 4 lesions."""
    return write_tiny_ham10000(tmp_path_factory.mktemp("tiny") / "ham10000")


@pytest.fixture(scope="session")
def quick(tiny_ham10000: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TrainingConfiguration]:
    """Make a configuration of a run of seconds; keyword arguments override."""
    cache = tmp_path_factory.mktemp("cache")

    def make(**overrides: object) -> TrainingConfiguration:
        values = {
            "data": str(tiny_ham10000),
            "cache_folder": str(cache),
            "architecture": "tiny",
            "init": "none",
            "epochs": 2,
            "image_size": 32,
            "batch_size": 8,
            "validation_fraction": 0.25,
            "test_fraction": 0.25,
            "precision": "fp32",
            "tensorboard": False,
        }
        return TrainingConfiguration(**(values | overrides))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def write_tiny() -> Callable[..., Path]:
    """The writer of the tiny data set, for tests that spoil it."""
    return write_tiny_ham10000


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real HAM10000 images, for tests marked ``real_data``."""
    return Path(__file__).resolve().parents[3] / "shared" / "data" / "ham10000-224"
