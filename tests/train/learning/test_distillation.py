"""What a learner gets from its teachers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_runtime.imaging import views
from train.learning.distillation import Teacher, apply_symmetry


class Corner(nn.Module):
    """Logits are one pixel near the upper left corner times a factor: every symmetry of an image gives others."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.head = SimpleNamespace(metadata_size=0)

    def forward(self, images: Tensor, metadata: None) -> Tensor:
        return images[:, :, 0, 1] * self.factor


def test_sampled_predictions_are_on_average_those_of_all_teachers_and_views() -> None:
    images = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 4
    models = (Corner(1.0), Corner(-2.0))
    teacher = Teacher(models, temperature=1.0, weight=1.0, sampled=True)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    predictions = torch.stack([teacher.probabilities(images, None, generator) for _ in range(4000)])

    flips = [images, images.flip(3), images.flip(2), images.flip(2, 3)]
    views = [view for flip in flips for view in (flip, flip.transpose(2, 3))]
    expected = torch.stack([model(view, None).softmax(1) for view in views for model in models]).mean(0)
    assert torch.allclose(predictions.mean(0), expected, atol=0.02)
    assert not torch.equal(predictions[0], predictions[1:].mean(0)), "one prediction is one view, not the mean"


@pytest.mark.parametrize("index", range(8))
def test_a_symmetry_is_the_same_for_tensors_and_for_the_device(index: int) -> None:
    batch_nhwc = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    batch_nchw = torch.from_numpy(batch_nhwc).permute(0, 3, 1, 2)
    expected = views.apply_symmetry(batch_nhwc, index)
    assert np.array_equal(apply_symmetry(batch_nchw, index).permute(0, 2, 3, 1).numpy(), expected)
