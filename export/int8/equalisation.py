"""Cross-layer equalisation: the same network with channels of like size, so that one range fits all of a tensor.

Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019). Between two
convolutions with nothing but a ReLU in between, a channel may be divided by any positive number in the first if it is
multiplied by it in the second. Where something else follows every convolution (SiLU, hard swish), nothing changes.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, fx, nn

from export.roles.folding import fold_for_inference

ROUNDS = 3
MOST = 100.0
"""A channel is made at most this many times larger or smaller in one round."""


def equalise(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` (submodules ``features`` and ``head``) with the same output and a folded, equalised
    backbone."""
    equalised = copy.deepcopy(model).eval()
    backbone = fold_for_inference(cast(nn.Module, equalised.features), explicit_padding=False)
    if isinstance(backbone, fx.GraphModule):
        pairs = neighbours(backbone)
        with torch.no_grad():
            for _ in range(ROUNDS):
                for first, second in pairs:
                    _equalise_pair(first, second)
        equalised.features = backbone
    return equalised


def neighbours(backbone: fx.GraphModule) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """Return the pairs of convolutions with a ReLU alone in between, whose tensors nothing else reads."""
    modules = dict(backbone.named_modules())

    def module_of(node: fx.Node) -> nn.Module | None:
        return modules.get(str(node.target)) if node.op == "call_module" else None

    pairs = []
    for node in backbone.graph.nodes:
        first, users = module_of(node), list(node.users)
        if not isinstance(first, nn.Conv2d) or len(users) != 1 or not isinstance(module_of(users[0]), nn.ReLU):
            continue
        after = list(users[0].users)
        second = module_of(after[0]) if len(after) == 1 else None
        if isinstance(second, nn.Conv2d) and second.groups in (1, second.in_channels):
            pairs.append((first, second))
    return pairs


def _equalise_pair(first: nn.Conv2d, second: nn.Conv2d) -> None:
    outgoing = first.weight.abs().amax((1, 2, 3))
    depthwise = second.groups > 1
    incoming = second.weight.abs().amax((1, 2, 3) if depthwise else (0, 2, 3))
    if depthwise and second.out_channels != second.in_channels:
        return
    there = (outgoing > 0) & (incoming > 0)
    divisor: Tensor = torch.where(there, (outgoing / incoming.clamp_min(1e-12)).sqrt(), torch.ones_like(outgoing))
    divisor = divisor.clamp(1 / MOST, MOST)
    first.weight.div_(divisor[:, None, None, None])
    if first.bias is not None:
        first.bias.div_(divisor)
    second.weight.mul_(divisor[:, None, None, None] if depthwise else divisor[None, :, None, None])
