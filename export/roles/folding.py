"""Folding what training needs and inference does not, before any graph is written.

Each converter would fold some of this by itself, but not the same things. Done once here, every format starts from the
same operations, and the quantisers see the weights that will really be multiplied.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

RELUS = (nn.ReLU, nn.ReLU6)


def fold_for_inference(features: nn.Module, *, explicit_padding: bool) -> nn.Module:
    """Return a copy of ``features`` in evaluation mode, without batch norm behind convolutions and without dropout.

    With ``explicit_padding``, for TFLite, whose pooling cannot pad as PyTorch's does, the padding of a max-pool that
    follows a ReLU becomes zero padding: nothing there is below zero, so the maximum is the same, and the graph holds no
    minus infinity for a quantiser to stumble over.
    A module that cannot be traced symbolically is returned as it is.
    """
    try:
        folded = cast(fx.GraphModule, fuse(features.eval()))
    except fx.proxy.TraceError:
        return features.eval()
    modules = dict(folded.named_modules())
    for node in list(folded.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], (nn.Dropout, nn.Dropout2d, nn.Identity)):
            node.replace_all_uses_with(node.args[0])
            folded.graph.erase_node(node)
        elif explicit_padding and node.op == "call_module" and _is_padded_pool_after_relu(node, modules):
            folded.set_submodule(node.target, _with_zero_padding(modules[node.target]))
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded.eval()


def with_scaled_input(features: nn.Module, scale: Tensor) -> nn.Module | None:
    """Return a copy of folded ``features`` for which each channel of its input need not be multiplied by ``scale`` [C]:
    the first convolution's weights are.

    ``None`` where the input goes anywhere but into one convolution with zero padding, which scaling leaves as it is.
    """
    if not isinstance(features, fx.GraphModule):
        return None
    image = next(node for node in features.graph.nodes if node.op == "placeholder")
    users = list(image.users)
    if len(users) != 1 or users[0].op != "call_module":
        return None
    scaled = copy.deepcopy(features)
    first = scaled.get_submodule(str(users[0].target))
    if not isinstance(first, nn.Conv2d) or first.groups != 1 or first.padding_mode != "zeros":
        return None
    with torch.no_grad():
        first.weight.mul_(scale[None, :, None, None])
    return scaled


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the convolutions of a module by name, in the order of their definition."""
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Conv2d)}


def _is_padded_pool_after_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    pool = modules[str(node.target)]
    if not isinstance(pool, nn.MaxPool2d) or pool.padding == 0 or pool.ceil_mode or pool.dilation != 1:
        return False
    source = node.args[0]
    assert isinstance(source, fx.Node)
    if source.op == "call_module":
        return isinstance(modules[str(source.target)], RELUS)
    return source.target in (torch.relu, nn.functional.relu)


def _with_zero_padding(pool: nn.MaxPool2d) -> nn.Module:
    padding = pool.padding if isinstance(pool.padding, tuple) else (pool.padding, pool.padding)
    vertical, horizontal = int(padding[0]), int(padding[1])
    return nn.Sequential(
        nn.ZeroPad2d((horizontal, horizontal, vertical, vertical)),
        nn.MaxPool2d(pool.kernel_size, pool.stride),
    )
