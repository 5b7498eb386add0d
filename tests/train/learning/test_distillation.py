"""What learners are told by their teachers."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from train.learning.distillation import Teacher


class Corner(nn.Module):
    """Answers with the upper left pixel, times a factor, as logits: every symmetry of an image has another one."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.head = SimpleNamespace(metadata_size=0)

    def forward(self, images: Tensor, metadata: None) -> Tensor:
        return images[:, :, 0, 1] * self.factor


def test_drawn_answers_are_in_the_mean_those_of_all_teachers_and_views() -> None:
    images = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 4
    models = (Corner(1.0), Corner(-2.0))
    drawn = Teacher(models, temperature=1.0, weight=1.0, drawn=True)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    answers = torch.stack([drawn.probabilities(images, None, generator) for _ in range(4000)])

    flips = [images, images.flip(3), images.flip(2), images.flip(2, 3)]
    views = [view for flip in flips for view in (flip, flip.transpose(2, 3))]
    expected = torch.stack([model(view, None).softmax(1) for view in views for model in models]).mean(0)
    assert torch.allclose(answers.mean(0), expected, atol=0.02)
    assert not torch.equal(answers[0], answers[1:].mean(0)), "one answer is one view, not the mean"
