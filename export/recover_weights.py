"""The way back: from a bundle's ONNX graphs to weights that training can start from.

    python -m export.recover_weights --bundle models/ham10000-resnet18 --data DATA --output weights.pth
    python -m train --data DATA --init weights.pth …

A bundle is small enough to keep when the checkpoint it came from is not. Its convolutions have the batch norms behind
them folded in, and perhaps 8-bit weights. Here they are dequantised, and each batch norm is put back so that the
function stays the same, with running statistics measured on images of the bundle's training set, so that training
can continue. For linear heads (the ResNets and others with a backbone of convolutions and batch norms in one chain).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import onnx
import torch
from msgspec import Meta
from onnx import numpy_helper
from torch import Tensor, nn

from edge_runtime.bundle.manifest import Manifest, read_manifest, verify_files
from edge_runtime.errors import BundleError, ExportError, run_command_line
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings
from export.images import load_images
from train.data.folder import load_records
from train.data.split import read_split
from train.files import replacing
from train.model.architectures import LesionModel, build_model, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATISTICS_IMAGES = 256
"""Images that the running means and variances are measured on."""


def recover_weights(bundle: Path, data: Path) -> LesionModel:
    """Return the network of a bundle's most precise ONNX variant, ready to be trained further.

    Raises :class:`BundleError` for a bundle without ONNX graphs and :class:`ExportError` for a network of another kind.
    """
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    variant = next((name for name in ("onnx-fp32", "onnx-fp16", "onnx-int8") if name in manifest.variants), None)
    if variant is None:
        raise BundleError(f"{bundle}: expected an ONNX variant, found {', '.join(manifest.variants)}")
    files = manifest.variants[variant]
    model = build_model(manifest.architecture, classes=len(manifest.classes)).eval()
    if not model.head.pooled_linear:
        raise ExportError(f"{bundle}: expected a pooled linear head, found {manifest.architecture}")
    batch = _training_images(bundle, data, manifest)
    layers = _layers_in_order(model, batch)
    _fill_convolutions(layers, list(_convolutions(bundle / files.features)), bundle / files.features)
    _fill_head(model, bundle / files.head, manifest.calibration.temperature)
    _measure_statistics(model, layers, batch)
    return model


def _training_images(bundle: Path, data: Path, manifest: Manifest) -> Tensor:
    split = read_split(bundle / "split.csv")
    records = load_records(data, manifest.class_set)
    positions = split.indices(records, "train")[:STATISTICS_IMAGES]
    images = load_images(tuple(records[index] for index in positions), manifest.input.size, "training images")
    return normalise(torch.from_numpy(images.images))


def _layers_in_order(model: LesionModel, batch: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm that its output goes to, in the order of the calls."""
    convolutions: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note_convolution(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        convolutions[id(output)] = module
        kept.append(output)  # an id is unique only while its object lives

    def note_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in convolutions:
            pairs.append((convolutions[id(inputs[0])], module))

    kept: list[Tensor] = []
    hooks = []
    for module in model.features.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(note_convolution))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(note_norm))
    with torch.no_grad():
        model.features(batch[:1])
    for hook in hooks:
        hook.remove()
    return pairs


def _convolutions(path: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases of a graph's convolutions in its order, dequantised, for a normalised image."""
    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}

    def value(name: str) -> NDArray[np.float32]:
        if name in stored:
            return stored[name].astype(np.float32)
        node = producers[name]
        if node.op_type != "DequantizeLinear":
            raise ExportError(f"{path}: expected constant weights, found them computed by {node.op_type}")
        numbers, scale = stored[node.input[0]].astype(np.float32), stored[node.input[1]]
        zero = stored[node.input[2]].astype(np.float32) if len(node.input) > 2 else np.zeros_like(scale)
        shape = (-1,) + (1,) * (numbers.ndim - 1)
        return (numbers - zero.reshape(shape)) * scale.reshape(shape)

    first, offset, factor = _read_normalisation(graph, stored)
    for node in graph.node:
        if node.op_type == "Conv":
            weight, bias = value(node.input[1]), value(node.input[2])
            if node is first:
                bias = bias + ((weight.sum((2, 3)) * factor) @ (255 * np.array(IMAGENET_MEAN) - offset))
                weight = weight * (factor * 255 * np.array(IMAGENET_STD))[:, None, None]
            yield weight.astype(np.float32), bias.astype(np.float32)


def _read_normalisation(
    graph: onnx.GraphProto, stored: dict[str, NDArray[Any]]
) -> tuple[onnx.NodeProto, NDArray[np.float64], NDArray[np.float64]]:
    """Return the first convolution and, per channel, what is subtracted from the image before it and then multiplied
    with it: what is missing from the mean and the standard deviation is part of the convolution's weights."""
    offset, factor = np.zeros(3), np.ones(3)
    name, before = "image_nhwc", ""
    while True:
        node = next(node for node in graph.node if node.op_type != "Shape" and name in node.input)
        if node.op_type == "Conv":
            return node, offset, factor
        if node.op_type == "Sub":
            offset = offset + stored[node.input[1]].reshape(-1) / factor
        elif node.op_type == "Mul":
            factor = factor * stored[node.input[1]].reshape(-1)
        elif node.op_type == "DequantizeLinear" and before != "QuantizeLinear":
            offset, factor = offset + stored[node.input[2]], factor * stored[node.input[1]]
        name, before = node.output[0], node.op_type


def _fill_convolutions(
    layers: list[tuple[nn.Conv2d, nn.BatchNorm2d]],
    found: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
    path: Path,
) -> None:
    """Layers of one shape follow each other in both lists; parallel branches differ in shape, so their order may."""
    by_shape = defaultdict(list)
    for weight, bias in found:
        by_shape[weight.shape].append((weight, bias))
    for convolution, norm in layers:
        shape = tuple(convolution.weight.shape)
        if not by_shape[shape]:
            raise ExportError(f"{path}: expected one more convolution of shape {shape}, found none")
        weight, bias = by_shape[shape].pop(0)
        assert norm.running_var is not None and norm.running_mean is not None
        with torch.no_grad():
            convolution.weight.copy_(torch.from_numpy(weight))
            norm.running_mean.zero_()
            norm.running_var.fill_(1.0 - norm.eps)
            norm.weight.fill_(1.0)
            norm.bias.copy_(torch.from_numpy(bias))


def _fill_head(model: LesionModel, path: Path, temperature: float) -> None:
    """The classifier, with the calibration temperature taken out again."""
    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    node = next((node for node in graph.node if node.op_type == "Gemm"), None)
    if node is None:
        raise ExportError(f"{path}: expected a linear layer (Gemm), found none")
    divided = any(one.op_type in ("Div", "Mul") and node.output[0] in one.input for one in graph.node)
    factor = 1.0 if divided else temperature
    with torch.no_grad():
        model.head.classifier.weight.copy_(torch.from_numpy(stored[node.input[1]] * factor))
        model.head.classifier.bias.copy_(torch.from_numpy(stored[node.input[2]] * factor))


def _measure_statistics(model: LesionModel, layers: list[tuple[nn.Conv2d, nn.BatchNorm2d]], batch: Tensor) -> None:
    """Give each batch norm the mean and variance of what reaches it, and the factors that undo them."""
    moments: dict[nn.BatchNorm2d, list[Tensor]] = defaultdict(list)

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        values = inputs[0].double()
        moments[module].append(torch.stack((values.mean(dim=(2, 3)), values.pow(2).mean(dim=(2, 3)))))

    hooks = [norm.register_forward_pre_hook(note) for _, norm in layers]
    with torch.no_grad():
        for chunk in batch.split(32):
            model.features(chunk)
        for hook in hooks:
            hook.remove()
        for _, norm in layers:
            mean, square = torch.cat(moments[norm], dim=1).mean(dim=1)
            variance = (square - mean**2).clamp(min=1e-8)
            assert norm.running_var is not None and norm.running_mean is not None
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


class RecoverySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle's weights, and where they go."""

    bundle: Annotated[Path, Meta(description="the bundle", extra={"metavar": "DIR"})]
    data: Annotated[Path, Meta(description="the data it was trained on", extra={"metavar": "DIR"})]
    output: Annotated[Path, Meta(description="where the weights go", extra={"metavar": "FILE"})]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the weights as the command line says."""
    parser = OneLineParser(
        prog="python -m export.recover_weights",
        description="Turn a bundle's ONNX graphs into weights that training can start from.",
        epilog="example: python -m export.recover_weights --bundle models/demo --data data/demo --output weights.pth",
    )
    add_flags(parser, RecoverySettings)
    settings = make_settings(RecoverySettings, given_flags(RecoverySettings, parser.parse_args(arguments)))
    model = recover_weights(settings.bundle, settings.data)
    with replacing(settings.output) as temporary:
        torch.save(model.state_dict(), temporary)
    print(f"written: {settings.output} ({model.architecture} of {settings.bundle})")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
