"""``weights.safetensors``: the network of a bundle, for those who evaluate, export or train on without its checkpoint.

Tensors carry the checkpoint's names. Weights of two dimensions and more are float16; vectors (biases, batch norms'
statistics, whose range float16 does not hold) and the buffers of the outlier score stay float32. The file's metadata
holds everything else that a :class:`~train.model.checkpoint.Checkpoint` has, as JSON, less what belongs to the machine
it was trained on. Format: safetensors, https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edge_runtime.bundle.manifest import WeightsFile, read_manifest, read_verified
from edge_runtime.errors import BundleError, CheckpointError
from train.model.checkpoint import Checkpoint, checkpoint_content, checkpoint_from, load_checkpoint

WEIGHTS_NAME = "weights.safetensors"
WEIGHTS_SUFFIX = ".safetensors"
FORMAT = "dermedge-weights-1"
_EXTRA = "extra."
"""Begins the names of the tensors that are in the checkpoint's ``extra``; those of the network have other names."""


def write_weights(checkpoint: Checkpoint, path: Path) -> WeightsFile:
    """Write the network and its facts to ``path``, and return the manifest's entry. Equal checkpoints, equal bytes."""
    content = checkpoint_content(checkpoint)
    state = content.pop("state_dict")
    content["config"] = {name: _without_folder(value) for name, value in content["config"].items()}
    tensors = {name: _stored(tensor) for name, tensor in state.items()}
    content["extra"] = _without_tensors(content["extra"], _EXTRA, tensors)
    metadata = {"format": FORMAT, "checkpoint": json.dumps(content, sort_keys=True, default=list)}
    path.write_bytes(_with_sorted_metadata(save(tensors, metadata)))
    return WeightsFile(
        file=path.name, size_bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )


def _with_sorted_metadata(content: bytes) -> bytes:
    """Return a file with its metadata in the order of their names: safetensors writes them in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    packed = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    packed += b" " * (-len(packed) % 8)  # the tensors behind it stay aligned
    return len(packed).to_bytes(8, "little") + packed + content[8 + length :]


def read_weights(path: Path) -> Checkpoint:
    """Return the checkpoint that ``path`` was written from, its tensors as float32. Raises :class:`CheckpointError`."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: expected a safetensors file, found something else or damage: {error}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected weights of format {FORMAT}, found {metadata.get('format', 'none')}")
    try:
        content = json.loads(metadata["checkpoint"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged metadata: {error}") from None
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.float() if tensor.is_floating_point() else tensor
        if name.startswith(_EXTRA):
            _put(content["extra"], name.removeprefix(_EXTRA).split("."), value)
        else:
            state[name] = value
    return checkpoint_from({**content, "state_dict": state}, path)


def load_network(path: Path) -> Checkpoint:
    """Return the checkpoint in a file (of ``torch.save`` or safetensors) or in a bundle.

    Raises :class:`CheckpointError` or :class:`BundleError`, naming the file.
    """
    if path.is_dir():
        path = find_weights(path)
    return read_weights(path) if path.suffix == WEIGHTS_SUFFIX else load_checkpoint(path)


def find_weights(bundle: Path) -> Path:
    """Return the weights file of a bundle, checked against its manifest. Raises :class:`BundleError`."""
    entry = read_manifest(bundle).weights
    if entry is None:
        raise BundleError(f"{bundle}: expected a bundle with {WEIGHTS_NAME}, found one that was exported without")
    read_verified(bundle, entry)
    return bundle / entry.file


def _without_folder(value: Any) -> Any:
    """Return a setting as it may leave the machine: of a path only the name."""
    return Path(value).name if isinstance(value, Path) or (isinstance(value, str) and "/" in value) else value


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor


def _without_tensors(value: dict[str, Any], prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return a tree without its tensors, which go into ``tensors`` under their paths."""
    rest: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, torch.Tensor):
            tensors[f"{prefix}{name}"] = item.detach().cpu().contiguous()
        else:
            rest[name] = _without_tensors(item, f"{prefix}{name}.", tensors) if isinstance(item, dict) else item
    return rest


def _put(tree: dict[str, Any], path: list[str], value: Tensor) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
