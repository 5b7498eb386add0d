"""Augmentation: bounded, reproducible, different per image, and each effect does what its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms.v2 import functional as torchvision_functional

from edge_runtime.errors import DataError
from train.augmentation.batch import augment, resize_batch
from train.augmentation.camera import blur, change_sharpness, cut_out, draw_hairs
from train.augmentation.colour import change_colours, draw_colour_matrices, shade
from train.augmentation.contact_sheet import main as contact_sheet
from train.augmentation.geometry import draw_matrices, warp
from train.augmentation.mixing import mix_batch, soft_targets
from train.augmentation.strengths import PRESETS, Augmentation, find_preset
from train.configuration import TrainingConfiguration
from train.model.architectures import standardise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    generator = np.random.default_rng(0)
    coarse = [Image.fromarray(generator.integers(40, 216, (5, 5, 3), dtype=np.uint8)) for _ in range(8)]
    return torch.from_numpy(np.stack([np.asarray(one.resize((48, 48), Image.Resampling.BICUBIC)) for one in coarse]))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [48, 32])
def test_presets_give_images_in_range(batch: torch.Tensor, name: str, size: int) -> None:
    before = batch.clone()
    result = augment(batch, size, find_preset(name), seeded())
    assert result.shape == (8, 3, size, size)
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(batch, before), "the cached images must not change"
    assert torch.equal(result, augment(batch, size, find_preset(name), seeded()))
    if name != "none":
        assert not torch.equal(result, augment(batch, size, find_preset(name), seeded(1)))


def test_none_is_what_validation_sees(batch: torch.Tensor) -> None:
    for size in (48, 32):
        assert torch.allclose(
            standardise(augment(batch, size, PRESETS["none"], seeded())), resize_batch(batch, size), atol=1e-6
        )


def test_validation_resize_is_the_devices(batch: torch.Tensor) -> None:
    from edge_runtime.imaging.preprocessing import resize_to_square

    expected = resize_to_square(Image.fromarray(batch[0].numpy()), 32)
    result = augment(batch[:1], 32, PRESETS["none"], seeded())[0].permute(1, 2, 0) * 255
    assert np.abs(result.numpy() - expected).max() <= 1.0, "rounding only"


def test_sampling_grid_is_torchs(batch: torch.Tensor) -> None:
    images = batch.permute(0, 3, 1, 2).float() / 255
    matrices = draw_matrices(8, PRESETS["extreme"], seeded(4))
    grid = functional.affine_grid(matrices, [8, 3, 32, 32], align_corners=False)
    expected = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    assert torch.allclose(warp(images, 32, PRESETS["extreme"], seeded(4)), expected, atol=1e-4)


@pytest.mark.parametrize(("deviation", "kernel"), [(1.0, 5), (2.0, 9)])
def test_blur_is_torchvisions(batch: torch.Tensor, deviation: float, kernel: int) -> None:
    images = batch.permute(0, 3, 1, 2).float() / 255
    expected = torchvision_functional.gaussian_blur(images, [kernel, kernel], [deviation, deviation])
    assert torch.allclose(blur(images, deviation), expected, atol=1e-6)


def test_flips_alone_only_mirror(batch: torch.Tensor) -> None:
    results = augment(batch, 48, Augmentation(flip=True), seeded()) * 255
    seen = set()
    for image, result in zip(batch.permute(0, 3, 1, 2).float(), results, strict=True):
        candidates = [image, image.flip(2), image.flip(1), image.flip(1, 2)]
        distances = [float((candidate - result).abs().max()) for candidate in candidates]
        assert min(distances) < 0.1
        seen.add(int(np.argmin(distances)))
    assert len(seen) > 1


def test_rotation_keeps_the_middle_and_the_skin(batch: torch.Tensor) -> None:
    flat = torch.full_like(batch, 150)
    assert torch.allclose(augment(flat, 48, PRESETS["seed"], seeded()), torch.tensor(150 / 255.0), atol=1e-5)


def test_no_colour_change_is_the_identity(batch: torch.Tensor) -> None:
    assert torch.allclose(draw_colour_matrices(4, Augmentation(), seeded()), torch.eye(3).expand(4, 3, 3), atol=1e-6)
    images = batch.permute(0, 3, 1, 2).float() / 255
    assert torch.allclose(change_colours(images.clone(), Augmentation(), seeded()), images, atol=1e-5)


def test_hue_and_saturation_keep_grey_grey() -> None:
    matrices = draw_colour_matrices(16, Augmentation(hue=40.0, saturation=0.8), seeded())
    grey = matrices @ torch.full((3, 1), 0.5)
    assert torch.allclose(grey, torch.full((16, 3, 1), 0.5), atol=1e-5)
    assert not torch.allclose(matrices[0], torch.eye(3), atol=1e-2)


def test_warm_and_cold_light_move_red_against_blue() -> None:
    matrices = draw_colour_matrices(64, Augmentation(temperature=0.2), seeded())
    red, blue = matrices[:, 0, 0], matrices[:, 2, 2]
    assert torch.allclose(red * blue, torch.ones(64), atol=1e-5)
    assert red.max() > 1.1
    assert red.min() < 0.9


def test_shade_falls_off_across_the_image() -> None:
    shaded = shade(torch.full((16, 3, 32, 32), 0.5), 0.3, seeded())
    assert torch.allclose(shaded.mean(dim=(1, 2, 3)), torch.full((16,), 0.5), atol=1e-4)
    assert (shaded.amax(dim=(1, 2, 3)) - shaded.amin(dim=(1, 2, 3))).max() > 0.2


def test_sharpness_blurs_some_and_sharpens_some(batch: torch.Tensor) -> None:
    images = batch.permute(0, 3, 1, 2).float() / 255
    images = (images + 0.1 * torch.randn(images.shape, generator=seeded())).clamp(0, 1)
    changed = change_sharpness(images.clone(), 1.0, seeded())
    ratio = changed.diff(dim=3).abs().mean(dim=(1, 2, 3)) / images.diff(dim=3).abs().mean(dim=(1, 2, 3))
    assert ratio.min() < 0.9
    assert ratio.max() > 1.02


def test_share_says_how_many_are_touched() -> None:
    light = torch.full((200, 3, 16, 16), 0.8)
    for effect in (draw_hairs, cut_out):
        untouched = light.clone() + torch.linspace(0, 0.1, 16)
        result = effect(untouched.clone(), 0.25, seeded())
        touched = int((result - untouched).abs().amax(dim=(1, 2, 3)).gt(0.01).sum())
        assert 30 <= touched <= 70


def mixing(**options: float) -> TrainingConfiguration:
    return TrainingConfiguration(mixing_probability=1.0, **options)  # type: ignore[arg-type]


def test_mixup_mixes_images_and_targets_alike() -> None:
    targets = soft_targets(torch.arange(7), 0.0, 7)
    images = torch.eye(7).view(7, 7, 1, 1).expand(7, 7, 4, 4)[:, :3]
    mixed, mixed_targets = mix_batch(images, targets, mixing(mixup=1.0), seeded())
    assert torch.allclose(mixed_targets.sum(dim=1), torch.ones(7))
    assert torch.allclose(mixed.mean(dim=(2, 3)), mixed_targets[:, :3], atol=1e-6)
    assert not torch.equal(mixed_targets, targets)


def test_cutmix_shares_by_area() -> None:
    targets = soft_targets(torch.arange(7), 0.0, 7)
    images = torch.eye(7).view(7, 7, 1, 1).expand(7, 7, 20, 20)[:, :3]
    for seed in range(5):
        mixed, mixed_targets = mix_batch(images, targets, mixing(cutmix=1.0), seeded(seed))
        assert torch.allclose(mixed.mean(dim=(2, 3)), mixed_targets[:, :3], atol=1e-6)


def test_no_mixing_when_off(batch: torch.Tensor) -> None:
    targets = soft_targets(torch.arange(7), 0.0, 7)
    assert mix_batch(batch[:7], targets, mixing(), seeded())[1] is targets


def test_contact_sheet(tiny_ham10000: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "sheet.png"
    flags = ["--data", str(tiny_ham10000), "--output", str(output), "--mixup", "1", "--rows", "3"]
    assert contact_sheet(flags) == 0
    with Image.open(output) as sheet:
        assert sheet.size == (7 * 130 + 2, 3 * 130 + 2)
    assert capsys.readouterr().out == f"{output}\n"


def test_unknown_preset() -> None:
    with pytest.raises(DataError, match="--augmentation: expected one of none, seed, strong, extreme, found 'wild'"):
        find_preset("wild")
