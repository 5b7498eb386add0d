"""Knowledge distillation (Hinton et al. 2015): learn also from the answers of one or several trained models.

The teachers see the very images the learner sees, after augmentation and mixing ("consistent teaching", Beyer et
al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import CheckpointError
from train.configuration import TrainingConfiguration
from train.learning.device import Compute
from train.model.architectures import LesionModel
from train.model.checkpoint import build_checkpoint_model, load_checkpoint


@dataclass(frozen=True)
class Teacher:
    """Trained models whose averaged answers, softened by ``temperature``, make up ``weight`` of the loss.

    With ``drawn``, each batch is answered by one model drawn at random, which looks at the images in one of the eight
    symmetries of the square, drawn as well. The loss is linear in the answers, so its mean over the steps is that of
    all models averaged over all symmetries, for the time of one look.
    """

    models: tuple[LesionModel, ...]
    temperature: float
    weight: float
    drawn: bool = False

    @torch.no_grad()
    def probabilities(self, images: Tensor, metadata: Tensor | None, generator: torch.Generator) -> Tensor:
        """Softened probabilities float32 [N, C] for standardised images [N, 3, H, W]; the generator is a CPU one."""
        models = self.models
        if self.drawn:
            model, view = (int(torch.randint(count, (), generator=generator)) for count in (len(models), 8))
            models, images = (models[model],), turned(images, view)
        answers = [
            functional.softmax(
                model(images, metadata if model.head.metadata_size else None).float() / self.temperature, dim=1
            )
            for model in models
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
    return Teacher(
        tuple(models),
        configuration.distillation_temperature,
        configuration.distillation_weight,
        drawn=configuration.teacher_answers == "drawn",
    )


def turned(images: Tensor, view: int) -> Tensor:
    """Square images [N, 3, H, H] turned by ``view % 4`` quarters, mirrored for ``view`` from 4 on."""
    images = images.rot90(view % 4, (2, 3))
    images = images.flip(3) if view >= 4 else images
    return images.contiguous(memory_format=torch.channels_last)
