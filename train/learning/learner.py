"""What a training step changes and what it needs for that, built from the configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.bundle.patient import metadata_size
from train.augmentation.strengths import Augmentation, find_preset
from train.configuration import TrainingConfiguration
from train.learning.averaging import make_average
from train.learning.device import Compute, choose_compute
from train.learning.distillation import Teacher, load_teacher
from train.learning.distribution import Workers
from train.learning.losses import Loss, make_loss
from train.learning.schedule import make_optimizer, set_trainable
from train.model.architectures import LesionModel, build_model
from train.model.initial_weights import initialise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Learner:
    """The model under training with optimiser, average and loss scaling, and what is fixed during training.

    ``new_tensors`` are the names of tensors that started at random. ``forward`` is the model as called in training:
    with several workers, wrapped so that gradients are averaged over them.
    """

    model: LesionModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    scaler: torch.amp.GradScaler
    loss: Loss
    teacher: Teacher | None
    augmentation: Augmentation
    compute: Compute
    configuration: TrainingConfiguration
    metadata_spec: PatientMetadataSpec | None
    new_tensors: tuple[str, ...]
    workers: Workers
    forward: Callable[..., Tensor] = field(init=False)

    @property
    def deployed(self) -> nn.Module:
        """The model to validate and deploy: the averaged one where averaging is on."""
        return self.model if self.average is None else self.average.module

    def begin(self, *, only_new: bool) -> None:
        """Make ready to learn, with the pre-trained layers frozen or not."""
        self.model.train()
        set_trainable(self.model, self.optimizer, only_new=only_new)
        self.forward = self.model
        if self.workers.count > 1:  # the wrapper looks at what is trainable when it is made
            self.forward = DistributedDataParallel(self.model)

    def without_exchange(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Context of all but the last chunk of a batch: gradients are exchanged with the last one only."""
        if isinstance(self.forward, DistributedDataParallel) and not last:
            return self.forward.no_sync()
        return contextlib.nullcontext()


def make_learner(
    configuration: TrainingConfiguration,
    labels: NDArray[np.int64],
    classes: ClassSet,
    metadata_spec: PatientMetadataSpec | None,
    workers: Workers,
    state: dict[str, Any] | None = None,
) -> Learner:
    """Build everything as configured; ``state`` is what :func:`learner_state` saved, to resume from."""
    compute = choose_compute(configuration.device, configuration.precision)
    torch.manual_seed(configuration.seed)
    size = metadata_size(metadata_spec)
    model = build_model(
        configuration.architecture, classes=len(classes), dropout=configuration.dropout, metadata_size=size
    )
    if state is None:
        with workers.first_goes_first():  # one download serves all
            initial = initialise(model, configuration.init, classes)
        if workers.is_first:
            print(initial.summary(), flush=True)
        new_tensors = initial.random
    else:
        new_tensors = tuple(state["new_tensors"])
    model = model.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(
        model=model,
        optimizer=make_optimizer(model, new_tensors, configuration),
        average=make_average(model, configuration.ema) if configuration.ema else None,
        scaler=torch.amp.GradScaler(compute.device.type, enabled=compute.needs_scaling),
        loss=make_loss(configuration, labels, len(classes), compute.device),
        teacher=load_teacher(configuration, classes, metadata_spec, compute),
        augmentation=find_preset(configuration.augmentation),
        compute=compute,
        configuration=configuration,
        metadata_spec=metadata_spec,
        new_tensors=new_tensors,
        workers=workers,
    )
    if state is not None:
        _restore(learner, state)
    return learner


def learner_state(learner: Learner) -> dict[str, Any]:
    """Everything of a learner that steps change. Random numbers need no state: they follow from the step's number."""
    return {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "new_tensors": list(learner.new_tensors),
    }


def _restore(learner: Learner, state: dict[str, Any]) -> None:
    learner.model.load_state_dict(state["model"])
    learner.optimizer.load_state_dict(state["optimizer"])
    if learner.average is not None:
        learner.average.load_state_dict(state["average"])
    learner.scaler.load_state_dict(state["scaler"])
