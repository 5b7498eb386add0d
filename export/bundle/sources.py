"""The backbone weights that int8 files can be made from: as trained, equalised, or fine-tuned for int8."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from torch import nn

from export.inputs import ExportInputs
from export.int8.equalisation import equalise
from export.int8.fine_tuning import fine_tune
from export.int8.layer_inputs import LayerInputs, record_layer_inputs
from export.roles.split_model import split_model
from train.model.architectures import LesionModel
from train.model.outlier_score import model_for_export

if TYPE_CHECKING:
    from onnx import ModelProto

Weights = Literal["trained", "equalised", "fine-tuned"]


@dataclass(frozen=True)
class BackboneSource:
    """A model that graphs are made from."""

    model: nn.Module
    inputs: ExportInputs

    @cached_property
    def graph(self) -> ModelProto:
        """The ``features`` graph as float ONNX: converting it takes longest, so it is done once."""
        from export.formats.onnx_writer import convert_onnx

        return convert_onnx(split_model(self.model, "NCHW", size=self.inputs.checkpoint.input_size)["features"])

    @cached_property
    def layers(self) -> dict[str, LayerInputs]:
        """What the model's convolutions see on the calibration images.

        The first one's input is centred as in int8 graphs, where rounded weights are used.
        """
        from export.formats.onnx_image_input import with_centred_image

        return record_layer_inputs(with_centred_image(self.graph), self.inputs.calibration.images)


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
            self._prepared[weights] = BackboneSource(prepare[weights](), self.inputs)
        return self._prepared[weights]

    def _equalised(self) -> nn.Module:
        return equalise(self.model)

    def _fine_tuned(self) -> nn.Module:
        images = self.inputs.calibration
        metadata = images.patient_vectors(self.inputs.checkpoint.metadata_spec)
        return fine_tune(self.model, images.images, metadata, self.fine_tuning_steps)
