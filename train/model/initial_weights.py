"""Where a run's weights start: torchvision's ImageNet weights, a file (also a partial one), a bundle, or at random."""

from __future__ import annotations

import urllib.error
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.errors import CheckpointError
from train.model.architectures import ARCHITECTURES, LesionModel
from train.model.bundle_weights import WEIGHTS_SUFFIX, load_network
from train.model.checkpoint import classes_of, load_tensors

_OF_CLASSES = ("head.classifier.", "head.metadata_evidence.2.")
"""Tensors with a row for each class."""


@dataclass(frozen=True)
class InitialisationReport:
    """Names of the model's tensors that were filled, and of those left random; names in the file that had no use."""

    source: str
    filled: tuple[str, ...]
    random: tuple[str, ...]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """One line for people: counts, and whole modules by name."""
        if not self.filled:
            return "initial weights: all at random"
        text = f"initial weights: {len(self.filled)} tensors from {self.source}"
        if self.random:
            text += f"; learned from scratch: {', '.join(_modules(self.random))}"
        if self.unused:
            text += f"; not used: {', '.join(_modules(self.unused))}"
        return text


def initialise(model: LesionModel, source: str, classes: ClassSet) -> InitialisationReport:
    """Fill ``model`` from ``source``: "imagenet", "none", a file, a bundle. Raises :class:`CheckpointError`.

    Of a network of other classes than ``classes``, the head's last layer stays random.
    """
    if source == "none":
        return InitialisationReport("none", (), tuple(model.state_dict()), ())
    if source == "imagenet":
        weights = _our_names(_download_imagenet(model.architecture), model.architecture)
    else:
        weights = _read_weights(Path(source), model.architecture, classes)
    return _fill(model, weights, source)


def _download_imagenet(architecture: str) -> dict[str, Tensor]:
    choice = torchvision.models.get_model_weights(architecture).DEFAULT
    if "IMAGENET1K_V1" in torchvision.models.get_model_weights(architecture).__members__:
        choice = torchvision.models.get_model_weights(architecture).IMAGENET1K_V1
    try:
        return dict(choice.get_state_dict(progress=False, check_hash=True))
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{choice.url}: cannot be downloaded ({reason}); give a file with --init FILE, or start at random with "
            "--init none"
        ) from None


def _read_weights(path: Path, architecture: str, classes: ClassSet) -> dict[str, Tensor]:
    if path.is_dir() or path.suffix == WEIGHTS_SUFFIX:
        checkpoint = load_network(path)
        _check_origin(vars(checkpoint), path, architecture)
        others = checkpoint.classes.codes != classes.codes
        return _without_classes(checkpoint.state_dict) if others else checkpoint.state_dict
    content, others = load_tensors(path, "a file of weights"), False
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        _check_origin(content, path, architecture)
        others = "classes" in content and classes_of(content, path).codes != classes.codes
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: expected a state dict, a mapping of names to tensors")
    weights = _our_names(content, architecture)
    return _without_classes(weights) if others else weights


def _without_classes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what has a row for each class: between as many other classes it would fit by chance."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(_OF_CLASSES)}


def _check_origin(content: dict[str, Any], path: Path, architecture: str) -> None:
    """Refuse a checkpoint that says it is of another network: some of its tensors might fit by chance."""
    found = content.get("architecture", architecture)
    if found != architecture:
        raise CheckpointError(f"{path}: expected a checkpoint of {architecture}, found one of {found}")


def _our_names(weights: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    if any(name.startswith("head.") for name in weights):
        return weights  # one of our own checkpoints
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        plain = name.removeprefix("module.")
        for prefix, replacement in ARCHITECTURES[architecture].renamed:
            if plain.startswith(prefix):
                renamed[replacement + plain[len(prefix) :]] = tensor
                break
        else:
            renamed[plain] = tensor
    return renamed


def _fill(model: LesionModel, weights: dict[str, Tensor], source: str) -> InitialisationReport:
    own = model.state_dict()
    filled = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
    if not any(name.startswith("features.") for name in filled):
        raise CheckpointError(f"{source}: expected weights of {model.architecture}, found none that fit")
    for name, tensor in weights.items():
        if name in own and own[name].shape != tensor.shape and not name.startswith("head."):
            raise CheckpointError(
                f"{source}: expected {name} of shape {tuple(own[name].shape)}, found {tuple(tensor.shape)}"
            )
    model.load_state_dict({**own, **filled})
    random = tuple(name for name in own if name not in filled and not name.endswith("num_batches_tracked"))
    unused = tuple(name for name in weights if name not in filled)
    return InitialisationReport(source, tuple(filled), random, unused)


def _modules(names: tuple[str, ...]) -> list[str]:
    """Tensor names → their modules, each once, in order."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))
