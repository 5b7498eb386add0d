"""The backbone weights that int8 files can be made from: as trained, equalised, or fine-tuned for int8."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from export.inputs import ExportInputs
from export.int8.equalisation import equalise
from export.int8.fine_tuning import fine_tune
from export.int8.layer_inputs import LayerInputs
from export.roles.split_model import split_model
from train.model.architectures import LesionModel
from train.model.outlier_score import model_for_export

Weights = Literal["trained", "equalised", "fine-tuned"]


@dataclass(frozen=True)
class BackboneSource:
    """A model that graphs are made from, and what its convolutions see on the calibration images."""

    model: nn.Module
    layers: dict[str, LayerInputs]


class BackboneSources:
    """Each kind of weights, prepared when it is first asked for and once for all formats and conversion routes."""

    def __init__(self, inputs: ExportInputs, fine_tuning_steps: int) -> None:
        self.inputs = inputs
        self.fine_tuning_steps = fine_tuning_steps
        self.model: LesionModel = model_for_export(inputs.model, inputs.checkpoint)
        """The network as trained, with the outlier score beside the logits where the checkpoint has one."""
        self._prepared: dict[Weights, BackboneSource] = {}

    def get(self, weights: Weights) -> BackboneSource:
        """Return the model with the named weights."""
        if weights not in self._prepared:
            prepare = {"trained": lambda: self.model, "equalised": self._equalised, "fine-tuned": self._fine_tuned}
            self._prepared[weights] = self._source(prepare[weights]())
        return self._prepared[weights]

    def _equalised(self) -> nn.Module:
        return equalise(self.model)

    def _fine_tuned(self) -> nn.Module:
        images = self.inputs.calibration
        metadata = images.patient_vectors(self.inputs.checkpoint.metadata_spec)
        return fine_tune(self.model, images.images, metadata, self.fine_tuning_steps)

    def _source(self, model: nn.Module) -> BackboneSource:
        from export.formats import onnx_graphs

        with tempfile.TemporaryDirectory() as folder:
            roles = split_model(model, "NCHW", size=self.inputs.checkpoint.input_size)
            onnx_graphs.write_fp32({"features": roles["features"]}, Path(folder), {})
            return BackboneSource(model, onnx_graphs.record_layers(Path(folder), self.inputs.calibration.images))
