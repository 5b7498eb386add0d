"""The one configuration of a training run: its defaults, reading it from TOML, and its checks.

Defaults are overridden by a preset (``--preset``), that by a TOML file (``--config``), that by flags. The resolved
configuration is saved as ``config.json`` in the run's folder.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.errors import DataError
from edge_runtime.imaging.preprocessing import INPUT_SIZE

LOSSES = ("weighted-cross-entropy", "cross-entropy", "focal", "logit-adjusted")
SAMPLERS = ("shuffle", "balanced")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SELECTIONS = ("balanced_accuracy", "macro_f1", "accuracy", "loss", "last")
FOLD_KINDS = ("lesion", "colour", "site", "confirmation")
TEACHER_ANSWERS = ("mean", "drawn")
FIT_SUBSETS = ("train", "train+validation", "all")


def _option(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field with the text and choices that ``--help`` shows for its flag."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class TrainingConfiguration:
    """Everything that decides a run's result. Sizes in pixels, rates as fractions, durations in epochs."""

    data: str | None = _option(None, "data folder (HAM10000, ISIC 2018 or folder per class); none: generated demo set")
    name: str = _option("latest-run", "name of the run; its folder is RUNS-FOLDER/NAME")
    runs_folder: str = _option("runs", "where runs are kept")
    cache_folder: str = _option("data/cache", "where decoded images are kept between runs")
    seed: int = _option(0, "decides split, order, augmentation and initial weights")

    validation_fraction: float = _option(0.15, "share of the lesions that chooses the best epoch")
    test_fraction: float = _option(0.15, "share of the lesions that no choice may look at")
    split: str | None = _option(None, "use this split.csv instead of making a split")
    split_seed: int = _option(0, "decides the split alone, so that seeds can be compared on one split")
    folds: int | None = _option(None, "cross-validate: this many folds of what is not test")
    fold: int | None = _option(None, "with --folds: validate on this fold only (0-based); all of them when not given")
    fold_by: str = _option(
        "lesion", "what a fold leaves out: lesions at random, or whole clusters of images", FOLD_KINDS
    )
    fit_on: str = _option(
        "train", "subsets to learn from; beyond 'train' the validation metrics are optimistically biased", FIT_SUBSETS
    )
    limit_images: int | None = _option(None, "use only this many images, drawn evenly over the lesions (trials)")

    architecture: str = _option("resnet18", "one of the registered architectures")
    init: str = _option("imagenet", "'imagenet' (torchvision download), 'none', or a file of weights")
    dropout: float = _option(0.0, "dropout before the classifier")
    patient_metadata: bool = _option(False, "also learn from age, sex and site")
    metadata_dropout: float = _option(0.5, "probability of hiding each of age, sex and site while learning")

    epochs: int = _option(12, "passes over the training images at --image-size")
    image_size: int = _option(INPUT_SIZE, "side of the training images; smaller is faster")
    final_epochs: int = _option(0, "further passes at --final-image-size, as the end of the same schedule")
    final_image_size: int = _option(INPUT_SIZE, "side of the images in the final passes")
    batch_size: int = _option(32, "images per optimiser step")
    accumulate: int = _option(1, "split each batch into this many forward passes")

    optimizer: str = _option("adamw", "how weights are updated", ("adamw", "sgd"))
    learning_rate: float = _option(3e-4, "peak rate of the pre-trained layers")
    new_layer_learning_rate: float = _option(1e-3, "peak rate of layers that start from random weights")
    layer_decay: float = _option(
        1.0, "each earlier stage of the backbone learns at this fraction of the next one's rate"
    )
    weight_decay: float = _option(0.05, "decoupled weight decay; not for biases and normalisation")
    schedule: str = _option("cosine", "rate after the warm-up: half a cosine to zero, or constant", SCHEDULES)
    warmup_epochs: float = _option(1.0, "linear warm-up")
    freeze_epochs: int = _option(0, "first passes in which only new layers learn")
    gradient_clip: float = _option(5.0, "largest norm of the gradient; 0: no clipping")
    ema: float = _option(0.0, "decay of the averaged weights per step, e.g. 0.999; 0: no averaging")

    loss: str = _option("weighted-cross-entropy", "what is minimised", LOSSES)
    class_weight_power: float = _option(0.5, "class weights are inverse frequency to this power (weighted, focal)")
    label_smoothing: float = _option(0.0, "share of the target spread over all classes")
    focal_gamma: float = _option(2.0, "focusing of the focal loss (Lin et al. 2017)")
    logit_adjustment: float = _option(1.0, "tau of logit adjustment (Menon et al. 2021)")
    sampler: str = _option("shuffle", "'balanced' draws classes by inverse frequency to --sampler-power", SAMPLERS)
    sampler_power: float = _option(0.5, "0: as they come, 1: every class equally often")
    augmentation: str = _option("seed", "preset: none, seed (flips, rotations), strong, or extreme")
    mixup: float = _option(0.0, "alpha of mixup (Zhang et al. 2018); 0: off")
    cutmix: float = _option(0.0, "alpha of cutmix (Yun et al. 2019); 0: off")
    mixing_probability: float = _option(0.5, "share of the batches that are mixed, when mixup or cutmix is on")

    teachers: str | None = _option(None, "checkpoints to learn from as well, separated by commas")
    teacher_answers: str = _option(
        "mean", "'drawn': one teacher and one of eight views a batch, as good in the mean and faster", TEACHER_ANSWERS
    )
    distillation_weight: float = _option(0.7, "share of the teachers' answers in the loss")
    distillation_temperature: float = _option(2.0, "softening of the answers in distillation")

    select: str = _option("balanced_accuracy", "validation figure that chooses best.pt", SELECTIONS)
    patience: int = _option(0, "stop after this many epochs without a better figure; 0: never")
    precision: str = _option("auto", "arithmetic; auto: bf16 where the processor has it", PRECISIONS)
    device: str = _option("auto", "auto, cpu, cuda, cuda:1, mps")
    threads: int | None = _option(None, "processor threads; default: torch's choice")
    save_every_steps: int = _option(0, "also save last.pt every so many steps; 0: at the end of epochs")
    tensorboard: bool = _option(True, "write TensorBoard event files")

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
        values |= _read_toml(file)
    values |= overrides or {}
    configuration = TrainingConfiguration(**values)
    check_configuration(configuration)
    return configuration


def configuration_from_dict(values: dict[str, Any], source: str) -> TrainingConfiguration:
    """Rebuild a saved configuration; ``source`` names where it came from in messages."""
    names = {option.name for option in dataclasses.fields(TrainingConfiguration)}
    for key in values:
        if key not in names:
            raise DataError(f"{source}: unknown key {key!r}")
    return TrainingConfiguration(**values)


def configuration_to_json(configuration: TrainingConfiguration) -> str:
    """The resolved configuration as it is saved beside what it produced."""
    return json.dumps(dataclasses.asdict(configuration), indent=2) + "\n"


def check_configuration(configuration: TrainingConfiguration) -> None:
    """Refuse values no run can use. Raises :class:`DataError` naming the option, what it may be and what it is."""
    hints = typing.get_type_hints(TrainingConfiguration)
    for option in dataclasses.fields(configuration):
        value, choices = getattr(configuration, option.name), option.metadata["choices"]
        flag = "--" + option.name.replace("_", "-")
        if not _has_type(value, hints[option.name]):
            raise DataError(f"{flag}: expected {_type_name(hints[option.name])}, found {value!r}")
        if choices and value not in choices:
            raise DataError(f"{flag}: expected one of {', '.join(choices)}, found {value!r}")
    for name, (low, high) in _RANGES.items():
        value = getattr(configuration, name)
        if value is not None and not low <= value <= high:
            flag = "--" + name.replace("_", "-")
            raise DataError(f"{flag}: expected {low:g} to {high:g}, found {value!r}")
    if configuration.fold is not None and (configuration.folds is None or configuration.fold >= configuration.folds):
        raise DataError(f"--fold: expected a number below --folds ({configuration.folds}), found {configuration.fold}")
    if configuration.accumulate > configuration.batch_size:
        limit = configuration.batch_size
        raise DataError(f"--accumulate: expected at most --batch-size ({limit}), found {configuration.accumulate}")


_HUGE = 10**9
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31),
    "split_seed": (0, 2**31),
    "validation_fraction": (0.01, 0.9),
    "test_fraction": (0, 0.9),
    "folds": (2, 100),
    "fold": (0, 99),
    "limit_images": (1, _HUGE),
    "dropout": (0, 0.95),
    "metadata_dropout": (0, 1),
    "epochs": (0, 100_000),
    "final_epochs": (0, 100_000),
    "image_size": (32, 4096),
    "final_image_size": (32, 4096),
    "batch_size": (2, 65_536),
    "accumulate": (1, 65_536),
    "learning_rate": (0, 100),
    "new_layer_learning_rate": (0, 100),
    "layer_decay": (0.01, 1),
    "weight_decay": (0, 10),
    "warmup_epochs": (0, 100_000),
    "freeze_epochs": (0, 100_000),
    "gradient_clip": (0, _HUGE),
    "ema": (0, 0.999999),
    "class_weight_power": (0, 2),
    "label_smoothing": (0, 0.9),
    "focal_gamma": (0, 10),
    "logit_adjustment": (0, 10),
    "sampler_power": (0, 1),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "mixing_probability": (0, 1),
    "distillation_weight": (0, 1),
    "distillation_temperature": (0.1, 100),
    "patience": (0, 100_000),
    "threads": (1, 1024),
    "save_every_steps": (0, _HUGE),
}


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected TOML: {error}") from None
    names = {option.name for option in dataclasses.fields(TrainingConfiguration)}
    resolved = {key.replace("-", "_"): value for key, value in values.items()}
    for key in resolved:
        if key not in names:
            raise DataError(f"{file}: unknown key {key!r}")
    return {key: float(value) if type(value) is int and _wants_float(key) else value for key, value in resolved.items()}


def _wants_float(name: str) -> bool:
    return typing.get_type_hints(TrainingConfiguration)[name] is float


def _has_type(value: Any, hint: Any) -> bool:
    accepted = typing.get_args(hint) or (hint,)
    if isinstance(value, bool):
        return bool in accepted
    if isinstance(value, int) and float in accepted:
        return True
    return isinstance(value, tuple(accepted))


def _type_name(hint: Any) -> str:
    names = [kind.__name__ for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[names[0]]
