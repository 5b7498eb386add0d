"""The last step of a training run, or on its own: calibrate a run's ``best.pt``.

    python -m train.calibrate --run demo --coverage 0.9 --false-positive-rate 0.02

``--prior-shift`` moves the probabilities from balanced classes (a model trained with logit adjustment) towards the
class frequencies of the training set: more accuracy, less balanced accuracy. ``--camera-shifts`` fits the temperature
on augmented validation images as well, so that confidence also holds for images from other cameras (Ovadia et al.,
NeurIPS 2019). What is fitted and how: :mod:`train.calibration.fit`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, parse_settings
from train.calibration.fit import FIT_IMAGES, CalibrationData, FitSettings, calibrate_checkpoint
from train.calibration.prior_shift import prior_shift_of, prior_shift_table
from train.calibration.sample import Sample, evenly_spaced
from train.data.class_balance import class_counts
from train.evaluation.data import read_evaluation_data
from train.evaluation.subject import CheckpointSubject
from train.metrics.classification import expected_calibration_error
from train.metrics.temperature import apply_temperature
from train.model.checkpoint import Checkpoint, load_checkpoint


class CalibrationConfiguration(FitSettings, frozen=True, kw_only=True):
    """The settings of ``python -m train.calibrate``."""

    run: Annotated[str, Meta(description="name of the run", extra={"metavar": "NAME"})]
    data: Annotated[Path, Meta(description="data folder, if not the run's own", extra={"metavar": "DIR"})] | None = None
    runs_folder: Annotated[Path, Meta(description="where runs are", extra={"metavar": "DIR"})] = Path("runs")
    cache_folder: Annotated[Path, Meta(description="where decoded images are kept", extra={"metavar": "DIR"})] = Path(
        "data/cache"
    )

    @property
    def checkpoint(self) -> Path:
        """The file to calibrate."""
        return self.runs_folder / self.run / "best.pt"


def read_calibration_data(configuration: CalibrationConfiguration) -> CalibrationData:
    """Read the run's training and validation images. Raises :class:`DataError` when they cannot be found."""
    facts = CheckpointSubject(configuration.checkpoint).facts
    folders = {"runs": configuration.runs_folder, "cache": configuration.cache_folder}
    training, validation = (
        read_evaluation_data(facts, configuration.data, subset, split_file=None, **folders)
        for subset in ("train", "validation")
    )
    counts = class_counts(training.truth, len(facts.classes))
    training = training.select(evenly_spaced(range(len(training.records)), FIT_IMAGES))
    return CalibrationData(
        Sample(training.images, training.records), Sample(validation.images, validation.records), counts
    )


def describe_change(before: Checkpoint, after: Checkpoint, path: Path, data: CalibrationData) -> str:
    """Return what calibration did to the error on the validation images, and what other prior shifts would do."""
    validation = data.validation
    calibrated = CheckpointSubject(path).predict_logits(validation.images[:], validation.records)
    logits = calibrated * after.temperature
    errors = [
        expected_calibration_error(validation.truth, apply_temperature(logits, one.temperature))
        for one in (before, after)
    ]
    table = prior_shift_table(logits, validation.truth, data.counts, prior_shift_of(after))
    return f"expected calibration error {errors[0]:.3f} before, {errors[1]:.3f} after\n{table}"


def read_flags(arguments: list[str] | None = None) -> CalibrationConfiguration:
    """Return the configuration that the command line asks for; wrong usage exits with one line."""
    parser = OneLineParser(
        prog="python -m train.calibrate",
        description="Fit temperature and thresholds on the validation set and write them into a run's best.pt.",
        epilog="example: python -m train.calibrate --run demo --coverage 0.9 --false-positive-rate 0.02",
    )
    return parse_settings(parser, CalibrationConfiguration, arguments)


def main(arguments: list[str] | None = None) -> int:
    """Calibrate the best checkpoint of a run as the command line says."""
    configuration = read_flags(arguments)
    path = configuration.checkpoint
    data = read_calibration_data(configuration)
    before = load_checkpoint(path)
    after = calibrate_checkpoint(path, data, configuration)
    print(describe_change(before, after, path, data))
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
