"""What an export reads: a run's checkpoint, its network, and the images that the run's split gives to each purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DataError
from export.configuration import ExportConfiguration
from export.images import LabelledImages, choose_calibration, choose_validation, load_images
from train.data.folder import load_records
from train.data.split import read_split
from train.model.architectures import LesionModel
from train.model.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint


@dataclass(frozen=True)
class ExportInputs:
    """A checkpoint with its network, and images by purpose.

    int8 ranges come from the ``calibration`` images and the choice of int8 recipe from the ``selection`` images, both
    of the training subset. Every graph is checked on the ``validation`` images, which choose nothing.
    """

    checkpoint_path: Path
    checkpoint: Checkpoint
    model: LesionModel
    calibration: LabelledImages
    selection: LabelledImages
    validation: LabelledImages

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.checkpoint_path.parent


def read_inputs(configuration: ExportConfiguration) -> ExportInputs:
    """Read what the export needs. Raises :class:`CheckpointError` or :class:`DataError` for what cannot be used."""
    checkpoint = load_checkpoint(configuration.checkpoint)
    model = build_checkpoint_model(checkpoint)
    records = load_records(find_data(configuration))
    split_path = configuration.checkpoint.parent / "split.csv"
    split = read_split(split_path)
    if split.hash != checkpoint.split_hash:
        expected = f"the split {checkpoint.split_hash[:12]} that the checkpoint was trained with"
        raise DataError(f"{split_path}: expected {expected}, found {split.hash[:12]}")
    calibration, selection = choose_calibration(
        records, split, configuration.calibration_images, configuration.selection_images
    )
    validation = choose_validation(records, split, configuration.validation_images)
    size = checkpoint.input_size
    return ExportInputs(
        configuration.checkpoint,
        checkpoint,
        model,
        load_images(calibration, size, "calibration images"),
        load_images(selection, size, "selection images"),
        load_images(validation, size, "validation images"),
    )


def find_data(configuration: ExportConfiguration) -> Path:
    """Return the data folder: the one asked for, else the one the run was trained on."""
    if configuration.data is not None:
        return configuration.data
    path = configuration.checkpoint.parent / "data.json"
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: expected the folder of the training data; name it with --data") from None
