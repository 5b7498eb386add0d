"""Knowledge distillation (Hinton et al. 2015): learn also from the answers of one or several trained models.

The teachers see the very pictures the learner sees, after augmentation and mixing ("consistent teaching", Beyer et
al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.errors import CheckpointError
from edge_runtime.manifest import PatientMetadataSpec
from train.checkpoint import build_checkpoint_model, load_checkpoint
from train.configuration import TrainingConfiguration
from train.device import Compute
from train.models import LesionModel


@dataclass(frozen=True)
class Teacher:
    """Trained models whose averaged answers, softened by ``temperature``, make up ``weight`` of the loss."""

    models: tuple[LesionModel, ...]
    temperature: float
    weight: float

    @torch.no_grad()
    def probabilities(self, pictures: Tensor, metadata: Tensor | None) -> Tensor:
        """Mean softened probabilities float32 [N, C] for standardised pictures [N, 3, H, W]."""
        answers = [
            functional.softmax(
                model(pictures, metadata if model.head.metadata_size else None).float() / self.temperature, dim=1
            )
            for model in self.models
        ]
        return torch.stack(answers).mean(dim=0)

    def loss(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Cross-entropy to the teachers' answers per sample, scaled so that its gradient keeps its size: [N]."""
        log_probabilities = functional.log_softmax(logits.float() / self.temperature, dim=1)
        return -(probabilities * log_probabilities).sum(dim=1) * self.temperature**2


def load_teacher(
    configuration: TrainingConfiguration, metadata_spec: PatientMetadataSpec | None, compute: Compute
) -> Teacher | None:
    """Load the checkpoints named by ``--teachers``, if any. Raises :class:`CheckpointError`."""
    if not configuration.teachers:
        return None
    models = []
    for name in configuration.teachers.split(","):
        checkpoint = load_checkpoint(Path(name.strip()))
        if checkpoint.metadata_spec is not None and checkpoint.metadata_spec != metadata_spec:
            raise CheckpointError(f"{name}: the teacher knows other patient metadata than the learner")
        model = build_checkpoint_model(checkpoint).requires_grad_(False)
        models.append(model.to(compute.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    return Teacher(tuple(models), configuration.distillation_temperature, configuration.distillation_weight)
