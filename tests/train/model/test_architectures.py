"""Every architecture is features and head, equals torchvision's network, and starts where --init says."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import CheckpointError, DataError
from train.model.architectures import ARCHITECTURES, build_model, normalise
from train.model.initial_weights import initialise

NAMES = [name for name in ARCHITECTURES if name != "tiny"]


def torchvision_weights(name: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    network = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    return network, network.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_equals_torchvision(name: str, tmp_path: Path) -> None:
    network, weights = torchvision_weights(name)
    torch.save(weights, tmp_path / "weights.pth")
    model = build_model(name, classes=7).eval()
    report = initialise(model, str(tmp_path / "weights.pth"), ham10000())
    assert report.random == ()
    assert report.unused == ()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        feature_map = model.features(images)
        assert feature_map.ndim == 4
        assert torch.allclose(model.head(feature_map), network(images), atol=1e-5)
        assert torch.equal(model(images), model.head(feature_map))
    assert model.head.pooled_linear == (not name.startswith("mobilenet"))


def test_partial_file_says_what_it_filled(tmp_path: Path) -> None:
    _, weights = torchvision_weights("resnet18")
    partial = {key: value for key, value in weights.items() if not key.startswith(("layer4.1", "fc"))}
    torch.save(partial | {"extra.weight": torch.zeros(1)}, tmp_path / "partial.pth")
    model = build_model("resnet18", classes=7)
    before = model.state_dict()["features.layer4.1.conv1.weight"].clone()
    report = initialise(model, str(tmp_path / "partial.pth"), ham10000())
    assert torch.equal(model.state_dict()["features.conv1.weight"], weights["conv1.weight"])
    assert torch.equal(model.state_dict()["features.layer4.1.conv1.weight"], before)
    assert {name.split(".")[2] for name in report.random if name.startswith("features.layer4")} == {"1"}
    assert report.summary() == (
        f"initial weights: {len(partial)} tensors from {tmp_path / 'partial.pth'}; learned from scratch: "
        "features.layer4.1.conv1, features.layer4.1.bn1, features.layer4.1.conv2, features.layer4.1.bn2, "
        "head.classifier; not used: features.extra"
    )


def test_imagenet_head_of_1000_classes_is_left_out(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "imagenet.pth")
    report = initialise(build_model("resnet18", classes=7), str(tmp_path / "imagenet.pth"), ham10000())
    assert report.random == ("head.classifier.weight", "head.classifier.bias")


def test_unreachable_download_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", refuse)
    with pytest.raises(CheckpointError) as caught:
        initialise(build_model("resnet18", classes=7), "imagenet", ham10000())
    assert str(caught.value) == (
        "https://download.pytorch.org/models/resnet18-f37072fd.pth: cannot be downloaded (Temporary failure in name "
        "resolution); give a file with --init FILE, or start at random with --init none"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"w\.pth: cannot be read: No such file"),
        (b"rubbish", r"w\.pth: expected a file of weights"),
        ([1, 2], r"w\.pth: expected a state dict"),
        ({"a": torch.zeros(2)}, r"w\.pth: expected weights of resnet18, found none that fit"),
    ],
)
def test_bad_weights(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        initialise(build_model("resnet18", classes=7), str(path), ham10000())


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "resnet50.pth")
    with pytest.raises(CheckpointError, match=r"expected features\.layer1\.0\.conv1\.weight of shape"):
        initialise(build_model("resnet18", classes=7), str(tmp_path / "resnet50.pth"), ham10000())


def test_unknown_architecture() -> None:
    with pytest.raises(DataError, match=r"--architecture: expected one of resnet18, .*, found 'vgg11'"):
        build_model("vgg11", classes=7)


def test_metadata_is_evidence_and_may_be_absent() -> None:
    model = build_model("tiny", classes=7, metadata_size=5).eval()
    images = torch.randn(2, 3, 32, 32)
    zeros = torch.zeros(2, 5)
    assert torch.equal(model(images), model(images, zeros))
    assert not torch.equal(model(images), model(images, zeros + 1))


def test_normalise_is_imagenets() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    expected = (images / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    result = normalise(torch.from_numpy(images))
    assert result.dtype == torch.float32
    assert np.allclose(result.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
