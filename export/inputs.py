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
from train.model.bundle_weights import WEIGHTS_NAME, find_weights, load_network
from train.model.checkpoint import Checkpoint, build_checkpoint_model


@dataclass(frozen=True)
class ExportInputs:
    """A checkpoint with its network, and images by purpose.

    ``source`` is the checkpoint's file, or the ``weights.safetensors`` of a bundle.

    int8 ranges come from the ``calibration`` images and the choice of int8 recipe from the ``selection`` images, both
    of the training subset. Every graph is checked on the ``validation`` images, which choose nothing.
    """

    source: Path
    checkpoint: Checkpoint
    model: LesionModel
    calibration: LabelledImages
    selection: LabelledImages
    validation: LabelledImages

    @property
    def folder(self) -> Path:
        """The run or the bundle that the network comes from; ``split.csv`` is in it."""
        return self.source.parent

    @property
    def from_bundle(self) -> bool:
        """Whether the network comes from a bundle and not from a run."""
        return self.source.name == WEIGHTS_NAME


def read_inputs(configuration: ExportConfiguration) -> ExportInputs:
    """Read what the export needs. Raises :class:`CheckpointError` or :class:`DataError` for what cannot be used."""
    source, checkpoint = read_source(configuration)
    model = build_checkpoint_model(checkpoint)
    records = load_records(configuration.data or find_data(source.parent), checkpoint.classes)
    split_path = source.parent / "split.csv"
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
        source,
        checkpoint,
        model,
        load_images(calibration, size, "calibration images"),
        load_images(selection, size, "selection images"),
        load_images(validation, size, "validation images"),
    )


def read_source(configuration: ExportConfiguration) -> tuple[Path, Checkpoint]:
    """Return the file that the network comes from, and its content. Raises a :class:`DermedgeError` naming it."""
    source = configuration.checkpoint if configuration.bundle is None else find_weights(configuration.bundle)
    assert source is not None  # the configuration was checked: it names one of the two
    return source, load_network(source)


def find_data(run: Path) -> Path:
    """Return the data folder that a run was trained on. Raises :class:`DataError` where none is recorded."""
    path = run / "data.json"
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: expected the folder of the training data; name it with --data") from None
