"""Weights recovered from a bundle make the same function, with batch norms that can learn again."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import read_manifest, write_manifest
from edge_runtime.errors import BundleError
from export.bundle.compact import compact_bundle
from export.images import LabelledImages, choose_validation, load_images
from export.pipeline import ExportOutcome
from export.recover_weights import main, recover_weights
from train.data.folder import load_records
from train.data.split import read_split
from train.model.architectures import build_model, normalise
from train.model.checkpoint import build_checkpoint_model, load_checkpoint
from train.model.initial_weights import initialise


def validation_images(checkpoint: Path, data_folder: Path) -> LabelledImages:
    split = read_split(checkpoint.parent / "split.csv")
    return load_images(choose_validation(load_records(data_folder), split, None), 64, "validation images")


def logits_of(model: torch.nn.Module, images: LabelledImages) -> np.ndarray:
    with torch.no_grad():
        return model(normalise(torch.from_numpy(images.images))).numpy()


def test_the_function_is_the_same(exported: tuple[Path, ExportOutcome], checkpoint: Path, data_folder: Path) -> None:
    images = validation_images(checkpoint, data_folder)
    expected = logits_of(build_checkpoint_model(load_checkpoint(checkpoint)), images)
    found = logits_of(recover_weights(exported[0], data_folder), images)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_batch_norms_hold_the_statistics_of_the_images(exported: tuple[Path, ExportOutcome], data_folder: Path) -> None:
    model = recover_weights(exported[0], data_folder)
    norm = model.features.layer2[0].bn1
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    split = read_split(exported[0] / "split.csv")
    records = [record for record in load_records(data_folder) if split.subsets[record.image_id] == "train"]
    logits_of(model, load_images(records, 64, "training images"))
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(norm.running_var, seen[0].var(dim=(0, 2, 3), correction=0), atol=1e-4, rtol=1e-3)


def test_int8_weights_start_a_training(
    exported: tuple[Path, ExportOutcome], checkpoint: Path, data_folder: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(exported[0], tmp_path / "bundle"))
    write_manifest(bundle, compact_bundle(bundle, read_manifest(bundle)))
    output = tmp_path / "weights.pth"
    assert main(["--bundle", str(bundle), "--data", str(data_folder), "--output", str(output)]) == 0
    model = build_model("shallow_resnet", classes=7).eval()
    report = initialise(model, str(output), ham10000())
    assert report.random == () and report.unused == ()
    images = validation_images(checkpoint, data_folder)
    expected = logits_of(build_checkpoint_model(load_checkpoint(checkpoint)), images)
    assert (logits_of(model, images).argmax(1) == expected.argmax(1)).mean() >= 0.95


def test_bundle_without_onnx(exported: tuple[Path, ExportOutcome], data_folder: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(exported[0], tmp_path / "bundle"))
    manifest = read_manifest(bundle)
    variants = {name: variant for name, variant in manifest.variants.items() if name.startswith("tflite")}
    write_manifest(bundle, msgspec.structs.replace(manifest, variants=variants))
    with pytest.raises(BundleError, match="bundle: expected an ONNX variant, found tflite-dynamic, tflite-fp16"):
        recover_weights(bundle, data_folder)
