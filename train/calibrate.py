"""The last step of a training: fit on what the model did not learn from how sure it may be, and when to say nothing.

The temperature, the "not sure" threshold and the "not a dermatoscopic image" threshold come from validation images,
the outlier score itself from training images. They are written into the checkpoint and travel into the bundle.

    python -m train.calibrate --run demo --coverage 0.9 --false-alarm-rate 0.02

Two things can be set besides. ``--prior-shift`` moves the answers from balanced classes (a model learned with logit
adjustment) towards the frequencies of the training set: more accuracy, less balanced accuracy (Menon et al., ICLR
2021). ``--camera-shifts`` fits the temperature also on validation images as other cameras would have taken them, so
that the confidence is not that of the home clinic alone (Ovadia et al., NeurIPS 2019).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.bundle.patient import encode_patient
from edge_runtime.errors import DataError, run_command_line
from train.augmentation.batch import augment
from train.augmentation.strengths import find_preset
from train.data.class_balance import class_counts, log_frequencies
from train.data.records import LesionRecord
from train.evaluation.data import SelectedImages, read_evaluation_data
from train.evaluation.subject import CheckpointSubject, patient_of
from train.metrics.classification import expected_calibration_error, summary_metrics
from train.metrics.temperature import apply_temperature, choose_not_sure_threshold, fit_temperature
from train.model.architectures import LesionModel, normalise
from train.model.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint, save_checkpoint
from train.model.outlier_score import fit_outlier_score, outlier_extra, outlier_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.data.prepare import PreparedData

COVERAGE = 0.9
FALSE_ALARM_RATE = 0.02
FIT_IMAGES = 1500
"""Training images that the outlier score is fitted on: enough for its 64 directions."""

SHIFT_PRESET = "strong"
"""The augmentation that stands for other cameras: light, colour, framing and sharpness."""

PRIOR_SHIFT_KEY = "prior_shift"

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Sample:
    """Images uint8 (N, size, size, 3) with their records, in the same order."""

    images: SelectedImages | NDArray[np.uint8]
    records: Sequence[LesionRecord]


def fit_calibration(
    checkpoint: Checkpoint,
    training: Sample,
    validation: Sample,
    *,
    coverage: float = COVERAGE,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    camera_shifts: int = 0,
) -> Checkpoint:
    """Return the checkpoint with temperature, thresholds and outlier score fitted; its weights are not touched.

    The temperature is fitted on the validation images and ``camera_shifts`` augmented copies of each.
    """
    model = build_checkpoint_model(checkpoint).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned, _ = pooled_and_logits(model, checkpoint, training, "features of training images")
    pooled, logits = pooled_and_logits(model, checkpoint, validation, "features of validation images")
    truth = np.array([record.label for record in validation.records])
    shifted = [
        pooled_and_logits(model, checkpoint, shifted_sample(validation, copy), "camera shifts")[1]
        for copy in range(camera_shifts)
    ]
    temperature = fit_temperature(np.concatenate([logits, *shifted]), np.tile(truth, 1 + camera_shifts))
    probabilities = apply_temperature(logits, temperature)
    score = fit_outlier_score(learned)
    scores = score.from_pooled(torch.from_numpy(pooled)).numpy()
    limit = outlier_threshold(scores, false_alarm_rate)
    return dataclasses.replace(
        checkpoint,
        temperature=temperature,
        not_sure_below=choose_not_sure_threshold(probabilities, coverage),
        coverage=coverage,
        extra={**checkpoint.extra, **outlier_extra(score, limit, float((scores > limit).mean()))},
    )


def shifted_sample(sample: Sample, seed: int) -> Sample:
    """The same images as other cameras would have taken them, one draw of the preset each."""
    generator = torch.Generator().manual_seed(seed)
    preset = find_preset(SHIFT_PRESET)
    changed = []
    for start in range(0, len(sample.records), _BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(sample.images[start : start + _BATCH]))
        drawn = augment(batch, batch.shape[1], preset, generator)
        changed.append((drawn * 255.0).round_().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return Sample(np.concatenate(changed), sample.records)


def shift_prior(checkpoint: Checkpoint, counts: NDArray[np.int64], strength: float) -> Checkpoint:
    """Return the checkpoint with ``strength`` times the log frequency of each class added to its logit.

    ``counts`` are images per class, (C,). A shift that an earlier call made is taken back first.
    """
    offset = (strength - checkpoint.extra.get(PRIOR_SHIFT_KEY, 0.0)) * log_frequencies(counts)
    state = dict(checkpoint.state_dict)
    state["head.classifier.bias"] = state["head.classifier.bias"] + torch.from_numpy(offset).float()
    return dataclasses.replace(checkpoint, state_dict=state, extra={**checkpoint.extra, PRIOR_SHIFT_KEY: strength})


def calibrate_checkpoint(
    path: Path,
    training: Sample,
    validation: Sample,
    *,
    coverage: float = COVERAGE,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    camera_shifts: int = 0,
    prior: tuple[NDArray[np.int64], float] | None = None,
) -> Checkpoint:
    """Fit and write a checkpoint in place, atomically; print what was found and return it.

    ``prior`` are images per class and the strength for :func:`shift_prior`; nothing is shifted without.
    """
    checkpoint = load_checkpoint(path)
    checkpoint = fit_calibration(
        checkpoint if prior is None else shift_prior(checkpoint, *prior),
        training,
        validation,
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
        camera_shifts=camera_shifts,
    )
    save_checkpoint(checkpoint, path)
    print(
        f"calibration on {len(validation.records)} validation images: temperature {checkpoint.temperature:.3f}; "
        f"not sure below {checkpoint.not_sure_below:.3f} (answers {coverage:.0%}); not a dermatoscopic image above "
        f"{checkpoint.extra['not_lesion_above']:.2f} (false alarms {checkpoint.extra['false_alarm_rate']:.1%})"
    )
    return checkpoint


def pooled_and_logits(
    model: LesionModel, checkpoint: Checkpoint, sample: Sample, what: str
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return pooled features float32 (N, C) and uncalibrated logits float64 (N, classes) of a sample."""
    spec = checkpoint.metadata_spec
    features, logits = [], []
    with tqdm(total=len(sample.records), desc=what, unit="image", leave=False, disable=None) as bar:
        for start in range(0, len(sample.records), _BATCH):
            part = slice(start, start + _BATCH)
            metadata = None
            if spec is not None:
                rows = [encode_patient(patient_of(record, spec), spec) for record in sample.records[part]]
                metadata = torch.from_numpy(np.stack(rows))
            batch = normalise(torch.from_numpy(sample.images[part]))
            with torch.inference_mode():
                feature_map = model.features(batch.contiguous(memory_format=torch.channels_last))
                logits.append(model.head(feature_map, metadata).double().numpy())
                features.append(feature_map.mean(dim=(2, 3)).numpy())
            bar.update(len(features[-1]))
    return np.concatenate(features), np.concatenate(logits)


def evenly_spaced(positions: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` of the positions, from the first to the last."""
    if len(positions) <= count:
        return list(positions)
    return [positions[index] for index in np.linspace(0, len(positions) - 1, count).round().astype(int)]


def calibrate_run(path: Path, data: PreparedData) -> Checkpoint:
    """Calibrate the checkpoint that a run has just written, on the run's own split."""

    def sample(positions: list[int]) -> Sample:
        return Sample(SelectedImages(data.cache.images, positions), [data.records[index] for index in positions])

    training, validation = (data.split.indices(data.records, subset) for subset in ("train", "validation"))
    return calibrate_checkpoint(path, sample(evenly_spaced(training, FIT_IMAGES)), sample(validation))


def main(arguments: list[str] | None = None) -> int:
    """Calibrate the best checkpoint of a run as the command line says."""
    flags = _read_flags(arguments)
    path = flags.runs_folder / flags.run / "best.pt"
    facts = CheckpointSubject(path).facts
    samples = {}
    for subset in ("train", "validation"):
        data = read_evaluation_data(
            facts, flags.data, subset, split_file=None, runs=flags.runs_folder, cache=flags.cache_folder
        )
        if subset == "train":
            counts = class_counts(np.array([record.label for record in data.records]))
        data = data.select(evenly_spaced(range(len(data.records)), FIT_IMAGES)) if subset == "train" else data
        samples[subset] = Sample(data.images, data.records)
    old = load_checkpoint(path)
    checkpoint = calibrate_checkpoint(
        path,
        samples["train"],
        samples["validation"],
        coverage=flags.coverage,
        false_alarm_rate=flags.false_alarm_rate,
        camera_shifts=flags.camera_shifts,
        prior=None if flags.prior_shift is None else (counts, flags.prior_shift),
    )
    logits = CheckpointSubject(path).answer(samples["validation"].images[:], samples["validation"].records)
    truth = np.array([record.label for record in samples["validation"].records])
    raw = apply_temperature(logits * checkpoint.temperature, old.temperature)
    errors = [expected_calibration_error(truth, one) for one in (raw, apply_temperature(logits))]
    print(f"expected calibration error {errors[0]:.3f} before, {errors[1]:.3f} after")
    print(prior_shift_table(logits * checkpoint.temperature, truth, counts, checkpoint.extra.get(PRIOR_SHIFT_KEY, 0.0)))
    print(f"written: {path}")
    return 0


def prior_shift_table(
    logits: NDArray[np.floating], truth: NDArray[np.int64], counts: NDArray[np.int64], current: float
) -> str:
    """What other strengths of the prior shift would do to the validation figures: one line each, for the choice."""
    frequency = log_frequencies(counts)
    lines = ["prior shift  accuracy  balanced accuracy  macro F1   (validation set)"]
    for strength in sorted({*np.linspace(0.0, 1.0, 6).round(2).tolist(), current}):
        figures = summary_metrics(truth, apply_temperature(logits + (strength - current) * frequency))
        mark = "  <- this checkpoint" if strength == current else ""
        lines.append(
            f"{strength:11.2f} {figures['accuracy']:9.1%} {figures['balanced_accuracy']:18.1%} "
            f"{figures['macro_f1']:9.3f}{mark}"
        )
    return "\n".join(lines)


def _read_flags(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.calibrate",
        description="Fit temperature and thresholds on the validation set and write them into a run's best.pt.",
        epilog="example: python -m train.calibrate --run demo --coverage 0.9 --false-alarm-rate 0.02",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--run", required=True, metavar="NAME", help="name of the run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder, if not the run's own")
    parser.add_argument("--coverage", type=float, default=COVERAGE, help="share of images to be answered")
    parser.add_argument(
        "--false-alarm-rate", type=float, default=FALSE_ALARM_RATE, help="share of lesions that may be refused"
    )
    parser.add_argument(
        "--camera-shifts",
        type=int,
        default=0,
        help="augmented copies of each image that the temperature is fitted on",
    )
    parser.add_argument(
        "--prior-shift", type=float, help="0: answers as learned, 1: by the training set's class frequencies"
    )
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), metavar="DIR", help="where runs are")
    parser.add_argument("--cache-folder", type=Path, default=Path("data/cache"), metavar="DIR", help="decoded images")
    flags = parser.parse_args(arguments)
    if not 0 < flags.coverage <= 1:
        raise DataError(f"--coverage: expected a fraction above 0 and at most 1, found {flags.coverage}")
    if not 0 <= flags.false_alarm_rate < 1:
        raise DataError(f"--false-alarm-rate: expected a fraction from 0 to below 1, found {flags.false_alarm_rate}")
    if not 0 <= flags.camera_shifts <= 20:
        raise DataError(f"--camera-shifts: expected 0 to 20, found {flags.camera_shifts}")
    if flags.prior_shift is not None and not -1 <= flags.prior_shift <= 2:
        raise DataError(f"--prior-shift: expected -1 to 2, found {flags.prior_shift}")
    return flags


if __name__ == "__main__":
    sys.exit(run_command_line(main))
