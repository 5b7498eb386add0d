"""Fit a checkpoint's temperature, thresholds and outlier score on images that its weights were not trained on.

The temperature, the "not sure" threshold and the "not a dermoscopic image" threshold come from validation images,
the outlier score itself from training images. The weights are not changed, except by a prior shift.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta

from train.calibration.prior_shift import shift_prior
from train.calibration.sample import Sample, evenly_spaced, pooled_and_logits, shifted_sample
from train.data.class_balance import class_counts
from train.evaluation.data import SelectedImages
from train.metrics.temperature import apply_temperature, choose_not_sure_threshold, fit_temperature
from train.model.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint, save_checkpoint
from train.model.outlier_score import fit_outlier_score, outlier_extra, outlier_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.data.prepare import PreparedData

FIT_IMAGES = 1500
"""Training images that the outlier score is fitted on: enough for its 64 directions."""


class FitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to calibrate: the settings that ``python -m train.calibrate`` and the end of every training run share."""

    coverage: Annotated[
        float, Meta(description='share of images that keep their prediction; the rest are "not sure"', gt=0, le=1)
    ] = 0.9
    false_positive_rate: Annotated[
        float,
        Meta(description='share of lesions that may be rejected as "not a dermoscopic image"', ge=0, lt=1),
    ] = 0.02
    camera_shifts: Annotated[
        int, Meta(description="augmented copies of each image that the temperature is fitted on as well", ge=0, le=20)
    ] = 0
    prior_shift: (
        Annotated[
            float,
            Meta(description="0: probabilities as trained, 1: by the class frequencies of training", ge=-1, le=2),
        ]
        | None
    ) = None


@dataclasses.dataclass(frozen=True)
class CalibrationData:
    """What a calibration is fitted on; ``counts`` are images per class of the whole training set, int64 (C,)."""

    training: Sample
    validation: Sample
    counts: NDArray[np.int64]


def fit_calibration(
    checkpoint: Checkpoint,
    data: CalibrationData,
    settings: FitSettings = FitSettings(),  # noqa: B008  frozen
) -> Checkpoint:
    """Return the checkpoint with temperature, thresholds and outlier score fitted.

    The temperature is fitted on the validation images and ``settings.camera_shifts`` augmented copies of each.
    """
    if settings.prior_shift is not None:
        checkpoint = shift_prior(checkpoint, data.counts, settings.prior_shift)
    model = build_checkpoint_model(checkpoint).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned, _ = pooled_and_logits(model, checkpoint, data.training, "features of training images")
    pooled, logits = pooled_and_logits(model, checkpoint, data.validation, "features of validation images")
    shifted = [
        pooled_and_logits(model, checkpoint, shifted_sample(data.validation, copy), "camera shifts")[1]
        for copy in range(settings.camera_shifts)
    ]
    truth = np.tile(data.validation.truth, 1 + settings.camera_shifts)
    temperature = fit_temperature(np.concatenate([logits, *shifted]), truth)
    score = fit_outlier_score(learned)
    scores = score.from_pooled(torch.from_numpy(pooled)).numpy()
    limit = outlier_threshold(scores, settings.false_positive_rate)
    return dataclasses.replace(
        checkpoint,
        temperature=temperature,
        not_sure_below=choose_not_sure_threshold(apply_temperature(logits, temperature), settings.coverage),
        coverage=settings.coverage,
        extra={**checkpoint.extra, **outlier_extra(score, limit, float((scores > limit).mean()))},
    )


def calibrate_checkpoint(
    path: Path,
    data: CalibrationData,
    settings: FitSettings = FitSettings(),  # noqa: B008  frozen
) -> Checkpoint:
    """Calibrate a checkpoint in place, atomically; print what was fitted and return it."""
    checkpoint = fit_calibration(load_checkpoint(path), data, settings)
    save_checkpoint(checkpoint, path)
    print(
        f"calibrated on {len(data.validation.records)} validation images: temperature {checkpoint.temperature:.3f}; "
        f'"not sure" below {checkpoint.not_sure_below:.3f} (coverage {settings.coverage:.0%}); "not a dermoscopic '
        f'image" above {checkpoint.extra["not_lesion_above"]:.2f} '
        f"(false-positive rate {checkpoint.extra['false_alarm_rate']:.1%})"
    )
    return checkpoint


def calibrate_run(path: Path, data: PreparedData) -> Checkpoint:
    """Calibrate the checkpoint that a run has just written, on the run's own split."""

    def sample(positions: Sequence[int]) -> Sample:
        return Sample(SelectedImages(data.cache.images, positions), [data.records[index] for index in positions])

    training, validation = (data.split.indices(data.records, subset) for subset in ("train", "validation"))
    counts = class_counts(np.array([data.records[index].label for index in training]), len(data.classes))
    return calibrate_checkpoint(
        path, CalibrationData(sample(evenly_spaced(training, FIT_IMAGES)), sample(validation), counts)
    )
