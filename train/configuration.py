"""The one configuration of a training run.

Defaults are overridden by a preset (``--preset``), that by a TOML file (``--config``), that by flags. The resolved
configuration is saved as ``config.json`` in the run's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.settings import make_settings, read_toml

CLASSES_HELP = (
    "what to tell apart: 'ham10000', 'isic2019', 'binary-malignant', a TOML file of classes, or 'folders' for the "
    "names of the data's folders; none: 'ham10000'"
)

_FOLDER = {"metavar": "FOLDER"}
_FILE = {"metavar": "FILE"}
_NAME = {"metavar": "NAME"}


class TrainingConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a run's result. Sizes in pixels, shares as fractions, durations in epochs."""

    data: Annotated[
        str | None,
        Meta(
            description="data folder (HAM10000, ISIC or one folder per class); none: the generated demo set",
            extra=_FOLDER,
        ),
    ] = None
    classes: Annotated[
        str | None,
        Meta(description=CLASSES_HELP, extra={"metavar": "CLASSES"}),
    ] = None
    data_licence: Annotated[
        str | None,
        Meta(description="licence of the images, for the model card; none: as the data folder states it"),
    ] = None
    name: Annotated[str, Meta(description="name of the run; its folder is RUNS-FOLDER/NAME", extra=_NAME)] = (
        "latest-run"
    )
    runs_folder: Annotated[str, Meta(description="where runs are kept", extra=_FOLDER)] = "runs"
    cache_folder: Annotated[str, Meta(description="where decoded images are kept between runs", extra=_FOLDER)] = (
        "data/cache"
    )
    seed: Annotated[int, Meta(ge=0, le=2**31, description="decides order, augmentation and initial weights")] = 0

    validation_fraction: Annotated[
        float, Meta(ge=0.01, le=0.9, description="share of each class's images that chooses the best epoch")
    ] = 0.15
    test_fraction: Annotated[
        float, Meta(ge=0, le=0.9, description="share of each class's images that no choice may depend on")
    ] = 0.15
    split: Annotated[str | None, Meta(description="use this split.csv instead of making a split", extra=_FILE)] = None
    split_seed: Annotated[
        int, Meta(ge=0, le=2**31, description="decides the split alone, so that seeds can be compared on one split")
    ] = 0
    folds: (
        Annotated[
            int, Meta(ge=2, le=100, description="cross-validate: this many folds of all images outside the test set")
        ]
        | None
    ) = None
    fold: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=99,
                description="with --folds: validate on this fold only, counted from 0; none: all folds in turn",
            ),
        ]
        | None
    ) = None
    fold_by: Annotated[
        Literal["lesion", "colour", "site", "confirmation"],
        Meta(description="what a fold leaves out: lesions at random, or whole clusters of images"),
    ] = "lesion"
    fit_on: Annotated[
        Literal["train", "train+validation", "all"],
        Meta(description="subsets to learn from; beyond 'train' the validation metrics are optimistically biased"),
    ] = "train"
    limit_images: (
        Annotated[
            int,
            Meta(ge=1, description="use only this many images, in the classes' proportions (for trials)"),
        ]
        | None
    ) = None

    architecture: Annotated[str, Meta(description="one of the registered architectures", extra=_NAME)] = "resnet18"
    init: Annotated[
        str, Meta(description="'imagenet' (downloaded by torchvision), 'none' (random), a file of weights, or a bundle")
    ] = "imagenet"
    dropout: Annotated[float, Meta(ge=0, le=0.95, description="dropout before the classifier")] = 0.0
    patient_metadata: Annotated[bool, Meta(description="also learn from age, sex and anatomical site")] = False
    metadata_dropout: Annotated[
        float, Meta(ge=0, le=1, description="probability of hiding each of age, sex and site during training")
    ] = 0.5

    epochs: Annotated[int, Meta(ge=0, le=100_000, description="passes over the training images at --image-size")] = 12
    image_size: Annotated[int, Meta(ge=32, le=4096, description="side of the training images; smaller is faster")] = (
        INPUT_SIZE
    )
    final_epochs: Annotated[
        int, Meta(ge=0, le=100_000, description="further passes at --final-image-size, as the end of the same schedule")
    ] = 0
    final_image_size: Annotated[int, Meta(ge=32, le=4096, description="side of the images in the final passes")] = (
        INPUT_SIZE
    )
    batch_size: Annotated[int, Meta(ge=2, le=65_536, description="images per optimiser step")] = 32
    accumulate: Annotated[
        int, Meta(ge=1, le=65_536, description="split each batch into this many forward passes (saves memory)")
    ] = 1

    optimizer: Annotated[Literal["adamw", "sgd"], Meta(description="optimiser")] = "adamw"
    learning_rate: Annotated[float, Meta(ge=0, le=100, description="peak learning rate of the pre-trained layers")] = (
        3e-4
    )
    new_layer_learning_rate: Annotated[
        float, Meta(ge=0, le=100, description="peak learning rate of layers that start from random weights")
    ] = 1e-3
    layer_decay: Annotated[
        float,
        Meta(
            ge=0.01,
            le=1,
            description="each earlier stage of the backbone learns at this fraction of the next one's learning rate",
        ),
    ] = 1.0
    weight_decay: Annotated[
        float, Meta(ge=0, le=10, description="decoupled weight decay; not for biases and normalisation layers")
    ] = 0.05
    schedule: Annotated[
        Literal["cosine", "constant"],
        Meta(description="learning rate after the warm-up: half a cosine down to zero, or constant"),
    ] = "cosine"
    warmup_epochs: Annotated[float, Meta(ge=0, le=100_000, description="length of the linear warm-up")] = 1.0
    freeze_epochs: Annotated[int, Meta(ge=0, le=100_000, description="first epochs in which only new layers learn")] = 0
    gradient_clip: Annotated[float, Meta(ge=0, description="largest norm of the gradient; 0: no clipping")] = 5.0
    ema: Annotated[
        float,
        Meta(ge=0, le=0.999999, description="decay per step of the averaged weights, e.g. 0.999; 0: no averaging"),
    ] = 0.0

    loss: Annotated[
        Literal["weighted-cross-entropy", "cross-entropy", "focal", "logit-adjusted"],
        Meta(description="loss function"),
    ] = "weighted-cross-entropy"
    class_weight_power: Annotated[
        float,
        Meta(ge=0, le=2, description="class weights are inverse frequency to this power (weighted and focal loss)"),
    ] = 0.5
    label_smoothing: Annotated[float, Meta(ge=0, le=0.9, description="share of the target spread over all classes")] = (
        0.0
    )
    focal_gamma: Annotated[
        float, Meta(ge=0, le=10, description="focusing parameter of the focal loss (Lin et al. 2017)")
    ] = 2.0
    logit_adjustment: Annotated[float, Meta(ge=0, le=10, description="tau of logit adjustment (Menon et al. 2021)")] = (
        1.0
    )
    sampler: Annotated[
        Literal["shuffle", "balanced"],
        Meta(description="'balanced' samples classes by inverse frequency to --sampler-power"),
    ] = "shuffle"
    sampler_power: Annotated[
        float, Meta(ge=0, le=1, description="0: classes as they occur, 1: every class equally often")
    ] = 0.5
    augmentation: Annotated[
        Literal["none", "seed", "strong", "extreme"],
        Meta(description="augmentation preset ('seed': flips and rotations)"),
    ] = "seed"
    mixup: Annotated[float, Meta(ge=0, le=100, description="alpha of mixup (Zhang et al. 2018); 0: off")] = 0.0
    cutmix: Annotated[float, Meta(ge=0, le=100, description="alpha of CutMix (Yun et al. 2019); 0: off")] = 0.0
    mixing_probability: Annotated[
        float, Meta(ge=0, le=1, description="share of the batches that are mixed when mixup or CutMix is on")
    ] = 0.5

    teachers: Annotated[
        str | None, Meta(description="checkpoints to distil from, separated by commas", extra={"metavar": "FILES"})
    ] = None
    teacher_predictions: Annotated[
        Literal["mean", "sampled"],
        Meta(description="'sampled': one teacher and one of eight views per batch; unbiased, and faster than the mean"),
    ] = "mean"
    distillation_weight: Annotated[
        float, Meta(ge=0, le=1, description="share of the loss that is distillation from the teachers")
    ] = 0.7
    distillation_temperature: Annotated[
        float, Meta(ge=0.1, le=100, description="temperature that softens predictions in distillation")
    ] = 2.0

    select: Annotated[
        Literal["balanced_accuracy", "macro_f1", "accuracy", "loss", "last"],
        Meta(description="validation metric that chooses best.pt"),
    ] = "balanced_accuracy"
    patience: Annotated[
        int, Meta(ge=0, le=100_000, description="stop after this many epochs without improvement; 0: never")
    ] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(description="numeric precision; auto: bf16 where the hardware has it"),
    ] = "auto"
    device: Annotated[str, Meta(description="auto, cpu, cuda, cuda:1 or mps", extra=_NAME)] = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024, description="CPU threads; none: torch's choice")] | None = None
    save_every_steps: Annotated[
        int, Meta(ge=0, description="also save last.pt every so many steps; 0: only after each epoch")
    ] = 0
    tensorboard: Annotated[bool, Meta(description="write TensorBoard event files")] = True

    @property
    def total_epochs(self) -> int:
        """All passes: at the first size and at the final one."""
        return self.epochs + self.final_epochs

    @property
    def run_folder(self) -> Path:
        """Folder of the run's outputs."""
        return Path(self.runs_folder) / self.name

    def image_size_at(self, epoch: int) -> int:
        """Side of the training images in the 0-based ``epoch``."""
        return self.image_size if epoch < self.epochs else self.final_image_size


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {
        "data": None,
        "epochs": 16,
        "image_size": 128,
        "final_epochs": 4,
        "augmentation": "seed",
        "learning_rate": 1e-3,
        "new_layer_learning_rate": 2e-3,
        "init": "none",
    },
}

_FORMER_NAMES = {"teacher_answers": "teacher_predictions"}
_FORMER_VALUES = {("teacher_predictions", "drawn"): "sampled"}


def resolve_configuration(
    preset: str | None = None, file: Path | None = None, overrides: dict[str, Any] | None = None
) -> TrainingConfiguration:
    """Combine defaults < preset < TOML file < overrides and check the result. Raises :class:`DataError`."""
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise DataError(f"--preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
        values |= PRESETS[preset]
    if file is not None:
        from_file = read_toml(file)
        make_settings(TrainingConfiguration, from_file, str(file))  # so that a message names the file
        values |= from_file
    configuration = make_settings(TrainingConfiguration, values | (overrides or {}))
    _check_combinations(configuration)
    return configuration


def configuration_from_dict(values: dict[str, Any], source: str) -> TrainingConfiguration:
    """Rebuild a saved configuration, also one with former names; ``source`` names where it came from in messages.

    Raises :class:`DataError`.
    """
    renamed = {_FORMER_NAMES.get(name, name): value for name, value in values.items()}
    current = {
        name: _FORMER_VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in renamed.items()
    }
    return make_settings(TrainingConfiguration, current, source)


def configuration_to_json(configuration: TrainingConfiguration) -> str:
    """The resolved configuration as it is saved beside what it produced."""
    return json.dumps(msgspec.structs.asdict(configuration), indent=2) + "\n"


def _check_combinations(configuration: TrainingConfiguration) -> None:
    """Refuse settings that are in range, but not beside each other. Raises :class:`DataError`."""
    folds, fold, limit = configuration.folds, configuration.fold, configuration.batch_size
    if fold is not None and (folds is None or fold >= folds):
        raise DataError(f"--fold: expected a number below --folds ({folds}), found {fold}")
    if configuration.accumulate > limit:
        raise DataError(f"--accumulate: expected at most --batch-size ({limit}), found {configuration.accumulate}")
