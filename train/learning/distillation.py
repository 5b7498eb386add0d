"""Knowledge distillation (Hinton et al. 2015): learn also from the predictions of one or several trained models.

The teachers see the very images the learner sees, after augmentation and mixing ("consistent teaching", Beyer et
al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.errors import CheckpointError
from train.configuration import TrainingConfiguration
from train.learning.device import Compute
from train.model.architectures import LesionModel
from train.model.checkpoint import build_checkpoint_model, load_checkpoint


@dataclass(frozen=True)
class Teacher:
    """Trained models whose mean prediction, softened by ``temperature``, makes up ``weight`` of the loss.

    With ``sampled``, one model is sampled for each batch, and one of the eight symmetries of the square in which it
    sees the images. The loss is linear in the predictions, so its expectation is that of all models averaged over all
    symmetries, at the cost of one forward pass.
    """

    models: tuple[LesionModel, ...]
    temperature: float
    weight: float
    sampled: bool = False

    @torch.no_grad()
    def probabilities(self, images: Tensor, metadata: Tensor | None, generator: torch.Generator) -> Tensor:
        """Softened probabilities float32 [N, C] for standardised images [N, 3, H, W]; the generator is a CPU one."""
        models = self.models
        if self.sampled:
            model, symmetry = (int(torch.randint(count, (), generator=generator)) for count in (len(models), 8))
            models, images = (models[model],), apply_symmetry(images, symmetry)
        predictions = [
            functional.softmax(
                model(images, metadata if model.head.metadata_size else None).float() / self.temperature, dim=1
            )
            for model in models
        ]
        return torch.stack(predictions).mean(dim=0)

    def loss(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Cross-entropy to the teachers' predictions per sample, scaled so that its gradient keeps its size: [N]."""
        log_probabilities = functional.log_softmax(logits.float() / self.temperature, dim=1)
        return -(probabilities * log_probabilities).sum(dim=1) * self.temperature**2


def load_teacher(
    configuration: TrainingConfiguration,
    classes: ClassSet,
    metadata_spec: PatientMetadataSpec | None,
    compute: Compute,
) -> Teacher | None:
    """Load the checkpoints named by ``--teachers``, if any. Raises :class:`CheckpointError`."""
    if not configuration.teachers:
        return None
    models = []
    for name in configuration.teachers.split(","):
        checkpoint = load_checkpoint(Path(name.strip()))
        if checkpoint.classes.codes != classes.codes:
            expected, found = (" ".join(one.codes) for one in (classes, checkpoint.classes))
            raise CheckpointError(f"{name}: expected a teacher of classes {expected}, found {found}")
        if checkpoint.metadata_spec is not None and checkpoint.metadata_spec != metadata_spec:
            raise CheckpointError(f"{name}: the teacher was trained with other patient metadata than this run uses")
        model = build_checkpoint_model(checkpoint).requires_grad_(False)
        models.append(model.to(compute.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    return Teacher(
        tuple(models),
        configuration.distillation_temperature,
        configuration.distillation_weight,
        sampled=configuration.teacher_predictions == "sampled",
    )


def apply_symmetry(batch_nchw: Tensor, index: int) -> Tensor:
    """The symmetry of :func:`edge_runtime.imaging.views.apply_symmetry`, for tensors [N, 3, H, H] on any device."""
    rotated = batch_nchw.rot90(index % 4, (2, 3))
    flipped = rotated.flip(3) if index >= 4 else rotated
    return flipped.contiguous(memory_format=torch.channels_last)
