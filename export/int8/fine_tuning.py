"""Quantisation-aware fine-tuning: the backbone's weights learn to predict as the float network despite rounding.

After Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (CVPR
2018), with the float network as the teacher (Hinton et al., 2015) in place of labels, so that no more than the
calibration images is needed and Grad-CAM keeps its meaning. Rounding is simulated as the files will do it: weights in
levels of -64..64 with one scale per output channel (the coarser of both formats), activations in 256 levels.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from tqdm import tqdm

from export.int8.activation_ranges import LEVELS, TensorStatistics, choose_ranges
from export.int8.weight_rounding import HIGHEST_IN_PAIRS
from export.roles.feature_map import call_head
from export.roles.folding import RELUS, convolutions, fold_for_inference
from train.model.architectures import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 16
LEARNING_RATE = 3e-5
FEATURE_WEIGHT = 0.1
"""Weight of the feature map's relative squared error beside the divergence of the predictions."""

OBSERVED_IMAGES = 64
PASSED_ON = (nn.MaxPool2d, nn.ZeroPad2d, nn.Dropout, nn.Identity)
"""Modules whose output has the levels of their input."""


def fine_tune(
    model: nn.Module, images: NDArray[np.uint8], metadata: NDArray[np.float32] | None, steps: int
) -> nn.Module:
    """Return a copy of ``model`` (submodules ``features`` and ``head``) whose folded backbone was trained for int8.

    ``images`` [N,S,S,3] are rotated and flipped at random; ``metadata`` [N,M] goes with them.
    """
    teacher, tuned = model.eval(), copy.deepcopy(model).eval()
    backbone = fold_for_inference(cast(nn.Module, tuned.features), explicit_padding=False)
    if not isinstance(backbone, fx.GraphModule):
        return tuned
    student = _with_rounding(backbone)
    _observe(student, images)
    for convolution in convolutions(student).values():
        parametrize.register_parametrization(convolution, "weight", RoundedWeight())
    optimizer = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = np.random.default_rng(0)
    for _ in tqdm(range(steps), desc="fine-tuning for int8", disable=not sys.stderr.isatty()):
        chosen = generator.choice(len(images), min(BATCH, len(images)), replace=False)
        batch = normalise(torch.from_numpy(_rotated_or_flipped(images[chosen], generator)))
        patients = None if metadata is None else torch.from_numpy(metadata[chosen])
        loss = _loss(teacher, student, batch, patients)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    for convolution in convolutions(student).values():
        parametrize.remove_parametrizations(convolution, "weight", leave_parametrized=False)
    tuned.features = backbone.requires_grad_(False)  # shares its convolutions with the student
    return tuned


class RoundedWeight(nn.Module):
    """Weights [O,I,kh,kw] as they come out of rounding; gradients pass as if nothing were rounded."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-9) / HIGHEST_IN_PAIRS
        zero_point = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -HIGHEST_IN_PAIRS, HIGHEST_IN_PAIRS)


class RoundedActivation(nn.Module):
    """Activations as they come out of rounding to a fixed range; before that range is chosen, they are observed."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics: TensorStatistics | None = TensorStatistics()
        self.scale, self.zero_point = 1.0, 0

    def fix_range(self) -> None:
        """Choose the range from what was observed."""
        assert self.statistics is not None
        low, high = choose_ranges({"": self.statistics}, "min-max")[""]
        self.scale = (high - low) / LEVELS
        self.zero_point = round(-low / self.scale)
        self.statistics = None

    def forward(self, values: Tensor) -> Tensor:
        if self.statistics is not None:
            self.statistics.add(values.detach().numpy())
            return values
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, 0, LEVELS)


def _with_rounding(backbone: fx.GraphModule) -> fx.GraphModule:
    """Return a module with the same submodules that rounds every tensor which the int8 files hold in 8 bits."""
    student = fx.GraphModule(backbone, copy.deepcopy(backbone.graph))
    modules = dict(student.named_modules())
    for index, node in enumerate(list(student.graph.nodes)):
        if node.op in ("placeholder", "call_module", "call_function", "call_method") and _is_rounded(node, modules):
            name = f"rounding_{index}"
            student.add_submodule(name, RoundedActivation())
            with student.graph.inserting_after(node):
                rounded = student.graph.call_module(name, (node,))
            node.replace_all_uses_with(rounded, delete_user_cb=lambda user, mine=rounded: user is not mine)
    student.recompile()
    return student


def _is_rounded(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module" and isinstance(modules[str(node.target)], PASSED_ON):
        return False
    users = list(node.users)
    feeds_relu = len(users) == 1 and (
        (users[0].op == "call_module" and isinstance(modules[str(users[0].target)], RELUS))
        or users[0].target in (torch.relu, nn.functional.relu)
    )
    return not feeds_relu  # a ReLU is part of the operator before it


def _observe(student: fx.GraphModule, images: NDArray[np.uint8]) -> None:
    with torch.no_grad():
        for start in range(0, min(len(images), OBSERVED_IMAGES), BATCH):
            student(normalise(torch.from_numpy(images[start : start + BATCH])))
    for module in student.modules():
        if isinstance(module, RoundedActivation):
            module.fix_range()


def _rotated_or_flipped(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return [N,S,S,3] randomly rotated by 90° steps and flipped; a lesion has no upright orientation."""
    turned = np.rot90(images, int(generator.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if generator.integers(2) else turned)


def _loss(teacher: nn.Module, student: nn.Module, batch: Tensor, patients: Tensor | None) -> Tensor:
    head = cast(nn.Module, teacher.head)
    with torch.no_grad():
        target_map = cast(nn.Module, teacher.features)(batch)
        target = torch.log_softmax(call_head(head, target_map, patients)["logits"], dim=1)
    feature_map = student(batch)
    predicted = torch.log_softmax(call_head(head, feature_map, patients)["logits"], dim=1)
    divergence = nn.functional.kl_div(predicted, target, reduction="batchmean", log_target=True)
    change = (feature_map - target_map).square().mean() / target_map.square().mean().clamp_min(1e-12)
    return divergence + FEATURE_WEIGHT * change
