"""A run folder as training leaves it, made in seconds: small images, and a head fitted in closed form."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import ExportError
from export.configuration import PRECISIONS, ExportConfiguration, Tolerances
from export.pipeline import ExportOutcome, run_export
from tests.export.networks import shallow_networks
from tests.export.shared_conversions import own_conversions, shared_conversions
from train.data.folder import load_records
from train.data.split import make_split, write_split
from train.model.architectures import LesionModel, build_model, normalise
from train.model.checkpoint import Checkpoint, save_checkpoint

SIZE = 64
IMAGES_PER_CLASS = 14


def class_image(label: int, generator: np.random.Generator) -> np.ndarray:
    """Return a noisy uint8 image [SIZE,SIZE,3] whose colour and stripes tell its class."""
    hue = np.random.default_rng(label).integers(40, 216, 3)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    stripes = 35 * np.sin((rows * np.cos(label) + columns * np.sin(label)) / (1.5 + label) + generator.uniform(0, 6))
    noisy = hue + stripes[..., None] + generator.normal(0, 12, (SIZE, SIZE, 3)) + generator.uniform(-10, 10)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_data(folder: Path, classes: tuple[str, ...] = ham10000().codes) -> Path:
    """Write a data folder in the HAM10000 layout."""
    (folder / "HAM10000_images_part_1").mkdir(parents=True)
    generator = np.random.default_rng(0)
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"))
        for code in classes:
            for number in range(IMAGES_PER_CLASS):
                name = f"ISIC_{ham10000().codes.index(code)}{number:06d}"
                image = Image.fromarray(class_image(ham10000().codes.index(code), generator))
                image.save(folder / "HAM10000_images_part_1" / f"{name}.jpg", quality=95)
                writer.writerow(
                    (f"HAM_{name}", name, code, "histo", 40 + number, ("male", "female")[number % 2], "back")
                )
    return folder


def fitted_model(architecture: str, images: torch.Tensor, truth: torch.Tensor) -> LesionModel:
    """Return a random network whose last layer is fitted to the images [N,S,S,3] by least squares."""
    torch.manual_seed(0)
    model = build_model(architecture, classes=7)
    with torch.no_grad():
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the plain mean: the same for all architectures
        for _ in range(4):  # batch norm learns the statistics of these images
            model.features(normalise(images))
        model.eval()
        inputs: list[torch.Tensor] = []
        hook = model.head.classifier.register_forward_hook(lambda _, arguments, __: inputs.append(arguments[0]))
        model(normalise(images))
        hook.remove()
        columns = torch.cat([inputs[0], torch.ones(len(images), 1)], dim=1).double()
        target = 8 * torch.nn.functional.one_hot(truth, model.classes).double() - 1
        gram = columns.T @ columns + 1e-2 * torch.eye(columns.shape[1], dtype=torch.double)
        weights = torch.linalg.solve(gram, columns.T @ target).float()
        model.head.classifier.weight.copy_(weights[:-1].T)
        model.head.classifier.bias.copy_(weights[-1])
    return model


def write_run(
    folder: Path, data: Path, architecture: str = "shallow_resnet", *, fit: bool = True, **changes: object
) -> Path:
    """Write a run folder with checkpoint, split and data; returns the checkpoint's path."""
    folder.mkdir(parents=True, exist_ok=True)
    records = load_records(data)
    split = make_split(records, validation_fraction=0.4, test_fraction=0.1)
    write_split(split, folder / "split.csv")
    (folder / "data.json").write_text(json.dumps({"folder": str(data), "name": data.name}))
    training = [record for record in records if split.subsets[record.image_id] == "train"]
    images = torch.from_numpy(np.stack([np.asarray(Image.open(record.path)) for record in training]))
    truth = torch.tensor([record.label for record in training])
    model = fitted_model(architecture, images, truth) if fit else build_model(architecture, classes=7)
    values: dict[str, object] = {
        "architecture": architecture,
        "classes": ham10000(),
        "state_dict": model.state_dict(),
        "input_size": SIZE,
        "config": {},
        "epoch": 1,
        "metrics": {},
        "split_hash": split.hash,
        "data_name": "coloured stripes",
        "data_fingerprint": "0" * 64,
        "demo": True,
        "licence": "none",
        "temperature": 1.5,
    }
    return save_checkpoint(Checkpoint(**{**values, **changes}), folder / "best.pt")  # type: ignore[arg-type]


def exported_configuration(checkpoint: Path, output: Path) -> ExportConfiguration:
    """Return what the shared bundle was asked to be."""
    return ExportConfiguration(
        checkpoint=checkpoint,
        output=output,
        precisions=PRECISIONS,
        calibration_images=21,
        selection_images=14,
        calibrator="min-max",
        threads=1,
    )


def largest_pair(levels: np.ndarray) -> int:
    """Return the largest same-signed sum of two neighbouring weights int8 [O,I,kh,kw], in either order of channels."""
    largest = 0
    for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
        rows = levels.astype(np.int16).transpose(order).reshape(len(levels), -1)
        pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
        largest = max(largest, int(np.maximum(pairs, 0).sum(-1).max()), int(-np.minimum(pairs, 0).sum(-1).min()))
    return largest


WHOLE_EXPORTS = {"exported", "exported_run", "refused"}
"""Fixtures that run a whole export: what stands on them is slow, however quick the test itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands on a whole export as slow."""
    for item in items:
        if WHOLE_EXPORTS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _shallow_networks() -> Iterator[None]:
    with shallow_networks():
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # another leg of the tests runs beside this one


@pytest.fixture(scope="session", autouse=True)
def _shared_conversions() -> Iterator[None]:
    with shared_conversions():
        yield


@pytest.fixture
def converted_anew() -> Iterator[None]:
    """Exports in this test convert every graph themselves."""
    with own_conversions():
        yield


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of all seven classes in the HAM10000 layout."""
    return write_data(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """The checkpoint of a run on these images."""
    return write_run(tmp_path_factory.mktemp("runs") / "stripes", data_folder)


@pytest.fixture(scope="session")
def mobilenet_checkpoint(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """The checkpoint of a network with all that is hard: depthwise convolutions, hard swish, squeeze-and-excitation,
    and a hidden layer in the head."""
    return write_run(tmp_path_factory.mktemp("runs") / "mobilenet", data_folder, "shallow_mobilenet")


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A copy of that run's folder: only the shared bundle is exported from it, so its report stays that bundle's."""
    return Path(shutil.copytree(checkpoint.parent, tmp_path_factory.mktemp("runs") / "exported"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, exported_run: Path) -> tuple[Path, ExportOutcome]:
    """The bundle exported from the checkpoint, and what the export says about it."""
    output = tmp_path_factory.mktemp("models") / "stripes"
    return output, run_export(exported_configuration(exported_run / "best.pt", output))


@dataclass(frozen=True)
class RefusedExport:
    """An export that broke a tolerance: what it said, its run's folder, and the old bundle that it did not replace."""

    message: str
    run: Path
    output: Path


@pytest.fixture(scope="session")
def refused(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> RefusedExport:
    """An export held to more than floating point can give, over an older bundle."""
    run = Path(shutil.copytree(checkpoint.parent, tmp_path_factory.mktemp("runs") / "refused"))
    output = tmp_path_factory.mktemp("models") / "one"
    output.mkdir()
    (output / "manifest.json").write_text("the old one")
    configuration = replace(
        exported_configuration(run / "best.pt", output),
        precisions=("fp32",),
        formats=("onnx",),
        tolerances=Tolerances(fp32_probability_difference=0.0),
    )
    with pytest.raises(ExportError) as raised:
        run_export(configuration)
    return RefusedExport(str(raised.value), run, output)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)
