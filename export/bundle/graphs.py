"""The graph files of one bundle, from a checkpoint's model: every format, precision and role."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge_runtime.bundle.classes import CLASS_CODES, CLASSES
from edge_runtime.bundle.manifest import GraphFile, Role
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.bundle.manifest_entries import graph_entry
from export.configuration import ExportConfiguration
from export.formats import onnx2tf_route
from export.formats.converter_output import capture_output
from export.images import LabelledImages
from export.int8.activation_ranges import CALIBRATORS
from export.int8.equalisation import equalise
from export.int8.fine_tuning import fine_tune
from export.int8.layer_inputs import LayerInputs
from export.int8.recipe_search import HoldOut, Int8Material, Score, head_probabilities
from export.parity.check import encode_images
from export.roles.split_model import Layout, RoleGraph, head_of, split_model, with_channels_first_image
from train.model.architectures import LesionModel
from train.model.checkpoint import Checkpoint
from train.model.outlier_score import model_for_export

LAYOUTS: dict[str, Layout] = {"onnx": "NCHW", "tflite": "NHWC"}

WriteFp32 = Callable[[nn.Module, dict[Role, RoleGraph], Path], object]
WriteInt8 = Callable[[dict[Role, RoleGraph], Path, Int8Material], tuple[dict[Role, Path], list[Score]]]


@dataclass(frozen=True)
class ExportImages:
    """The images of an export by purpose."""

    calibration: LabelledImages
    hold_out: LabelledImages
    validation: LabelledImages


@dataclass(frozen=True)
class BackboneSource:
    """A model that graphs are made from, and what its convolutions see on the calibration images."""

    model: nn.Module
    layers: dict[str, LayerInputs]


class BundleGraphs:
    """The graph files of one bundle while they are written."""

    def __init__(
        self,
        configuration: ExportConfiguration,
        checkpoint: Checkpoint,
        model: LesionModel,
        images: ExportImages,
        folder: Path,
    ) -> None:
        self.configuration = configuration
        self.checkpoint = checkpoint
        self.model = model_for_export(model, checkpoint)  # the same weights, and the outlier score beside the logits
        self.images = images
        self.folder = folder
        self.entries: list[GraphFile] = []
        self.scores: dict[str, list[Score]] = {}
        self.prepared_sources: dict[str, BackboneSource] = {}

    def write_format(self, format_name: str) -> None:
        """Write all precisions of one format; fp32 always, since head and explain are that in every variant."""
        print(f"writing {format_name}", file=sys.stderr)
        graphs = self._split(self.model, LAYOUTS[format_name])
        write: Callable[[dict[Role, RoleGraph]], None] = (
            self._write_onnx if format_name == "onnx" else self._write_tflite
        )
        write(graphs)

    @cached_property
    def source(self) -> BackboneSource:
        """The checkpoint's model; what its layers see is measured once, for both formats."""
        return self._source(self.model)

    def prepared(self, name: str) -> BackboneSource:
        """Return the model ``equalised`` or ``fine-tuned`` for int8, made once for both formats."""
        if name not in self.prepared_sources:
            self.prepared_sources[name] = self._source(equalise(self.model) if name == "equalised" else self._tuned())
        return self.prepared_sources[name]

    def _tuned(self) -> nn.Module:
        images = self.images.calibration
        metadata = encode_images(images.records, self.checkpoint.metadata_spec)
        return fine_tune(self.model, images.images, metadata, self.configuration.qat_steps)

    def _source(self, model: nn.Module) -> BackboneSource:
        from export.formats import onnx_graphs

        with tempfile.TemporaryDirectory() as folder:
            ours = split_model(model, "NCHW", size=self.checkpoint.input_size)
            onnx_graphs.write_fp32({"features": ours["features"]}, Path(folder), {})
            return BackboneSource(model, onnx_graphs.record_layers(Path(folder), self.images.calibration.images))

    def _split(
        self, model: nn.Module, layout: Layout, *, explicit_padding: bool | None = None
    ) -> dict[Role, RoleGraph]:
        return split_model(
            model,
            layout,
            size=self.checkpoint.input_size,
            temperature=self.checkpoint.temperature,
            metadata_size=_metadata_size(self.checkpoint),
            explicit_padding=explicit_padding,
        )

    def _write_onnx(self, graphs: dict[Role, RoleGraph]) -> None:
        from export.formats import onnx_graphs

        properties = file_properties(self.checkpoint)

        def write_fp32(_: nn.Module, roles: dict[Role, RoleGraph], folder: Path) -> dict[Role, Path]:
            return onnx_graphs.write_fp32(roles, folder, properties)

        def write_int8(
            roles: dict[Role, RoleGraph], folder: Path, material: Int8Material
        ) -> tuple[dict[Role, Path], list[Score]]:
            return onnx_graphs.write_int8(roles, folder, properties, material)

        self._add(write_fp32(self.model, graphs, self.folder), graphs, "fp32")
        if "fp16" in self.configuration.precisions:
            self._add(onnx_graphs.write_fp16(graphs, self.folder, properties), graphs, "fp16")
        if "int8" in self.configuration.precisions:
            self._add(self._write_int8("onnx", graphs, write_fp32, write_int8), graphs, "int8")

    def _write_tflite(self, graphs: dict[Role, RoleGraph]) -> None:
        with capture_output("loading the TFLite converter"):
            from export.formats import tflite_graphs

        written = {"fp32": self._convert_tflite(self.model, graphs, self.folder)}
        for precision in ("fp16", "dynamic"):
            if precision in self.configuration.precisions:
                written[precision] = tflite_graphs.write_light(self.folder, precision)
        if "int8" in self.configuration.precisions:
            written["int8"] = self._write_int8("tflite", graphs, self._convert_tflite, tflite_graphs.write_int8)
        properties = file_properties(self.checkpoint)
        description = f"{properties['architecture']} for dermatoscopic images; {properties['warning']}"
        tflite_graphs.add_metadata(self.folder, graphs, description, self.checkpoint.licence)
        for precision, paths in written.items():
            self._add(paths, graphs, precision)

    def _convert_tflite(self, model: nn.Module, graphs: dict[Role, RoleGraph], folder: Path) -> dict[Role, Path]:
        """Write the fp32 TFLite files of a model by the route that was asked for."""
        from export.formats import tflite_graphs, tflite_writer

        if self.configuration.tflite_via == "onnx2tf":
            channels_first = with_channels_first_image(self._split(model, "NCHW", explicit_padding=True))
            converted = onnx2tf_route.convert_roles(channels_first, self.images.calibration.images)
        else:
            converted = tflite_writer.convert_roles(graphs)
        return tflite_graphs.write_fp32(converted, folder)

    def _write_int8(
        self, format_name: str, graphs: dict[Role, RoleGraph], write_fp32: WriteFp32, write_int8: WriteInt8
    ) -> dict[Role, Path]:
        """Write the int8 files; while no recipe reaches the goal, again from weights prepared for int8, and keep what
        is closest to the float answers."""
        material = self._material(graphs)
        paths, scores = write_int8(graphs, self.folder, material)
        least = best_of(scores).divergence
        for name in ("equalised", "fine-tuned") if self.configuration.qat else ("equalised",):
            if least <= material.goal:
                break
            source = self.prepared(name)
            with tempfile.TemporaryDirectory() as folder:
                prepared = self._split(source.model, LAYOUTS[format_name])
                write_fp32(source.model, prepared, Path(folder))
                new_paths, tried = write_int8(prepared, Path(folder), replace(material, layers=source.layers))
                scores = scores + [replace(score, recipe=f"{name}, {score.recipe}") for score in tried]
                if best_of(tried).divergence < least:
                    least = best_of(tried).divergence
                    for role, path in new_paths.items():
                        shutil.copyfile(path, paths[role])
        self.scores[format_name] = scores
        return paths

    def _material(self, graphs: dict[Role, RoleGraph]) -> Int8Material:
        chosen = self.configuration.calibrator
        return Int8Material(
            images=self.images.calibration.images,
            layers=self.source.layers,
            hold_out=self._hold_out(graphs),
            calibrators=tuple(name for name in CALIBRATORS if chosen in ("auto", name)),
            goal=self.configuration.goal(demo=self.checkpoint.demo),
            threads=self.configuration.threads,
        )

    def _hold_out(self, graphs: dict[Role, RoleGraph]) -> HoldOut:
        images = self.images.hold_out
        metadata = encode_images(images.records, self.checkpoint.metadata_spec)
        with torch.no_grad():
            batches = np.array_split(images.images, max(1, len(images) // 16))
            maps = [graphs["features"].module(torch.from_numpy(batch))["feature_map"].numpy() for batch in batches]
        head = head_of(graphs)
        return HoldOut(images.images, images.truth, head_probabilities(head, np.concatenate(maps), metadata), metadata)

    def _add(self, paths: dict[Role, Path], graphs: dict[Role, RoleGraph], precision: str) -> None:
        self.entries += [graph_entry(path, graphs[role], precision) for role, path in paths.items()]


def best_of(scores: list[Score]) -> Score:
    """Return the score of the recipe that was kept."""
    return min(scores, key=lambda score: score.divergence)


def file_properties(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what every ONNX file says of itself, for readers that do not know the manifest."""
    return {
        "architecture": checkpoint.architecture,
        "class_names": json.dumps([lesion_class.name for lesion_class in CLASSES]),
        "classes": json.dumps(list(CLASS_CODES)),
        "demo": json.dumps(checkpoint.demo),
        "input": (
            f"uint8 RGB NHWC, stretched to {checkpoint.input_size}x{checkpoint.input_size} with an antialiased "
            "bilinear filter; normalisation is inside the graph"
        ),
        "licence": checkpoint.licence,
        "normalisation_mean": json.dumps(IMAGENET_MEAN),
        "normalisation_std": json.dumps(IMAGENET_STD),
        "temperature": json.dumps(checkpoint.temperature),
        "warning": "research only, not a medical device"
        + ("; demo: trained on generated phantoms" if checkpoint.demo else ""),
    }


def _metadata_size(checkpoint: Checkpoint) -> int:
    from edge_runtime.bundle.patient import metadata_size

    return 0 if checkpoint.metadata_spec is None else metadata_size(checkpoint.metadata_spec)
