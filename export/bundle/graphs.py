"""The graph files of one bundle, from a checkpoint's model: every format, precision and role."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge_runtime.bundle.classes import CLASS_CODES, CLASSES
from edge_runtime.bundle.manifest import GraphFile, Role
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.bundle.manifest_entries import graph_entry
from export.bundle.sources import BackboneSources, Weights
from export.configuration import ExportConfiguration
from export.formats import onnx2tf_route
from export.formats.converter_output import capture_output
from export.inputs import ExportInputs
from export.int8.activation_ranges import CALIBRATORS
from export.int8.recipe_search import Int8Material, Score, SelectionSet, head_probabilities
from export.roles.feature_map import Layout
from export.roles.split_model import RoleGraph, head_of, split_model, with_channels_first_image
from train.model.checkpoint import Checkpoint

LAYOUTS: dict[str, Layout] = {"onnx": "NCHW", "tflite": "NHWC"}

WriteFp32 = Callable[[nn.Module, dict[Role, RoleGraph], Path], object]
WriteInt8 = Callable[[dict[Role, RoleGraph], Path, Int8Material], tuple[dict[Role, Path], list[Score]]]


class BundleGraphs:
    """The graph files of one bundle while they are written."""

    def __init__(
        self, configuration: ExportConfiguration, inputs: ExportInputs, sources: BackboneSources, folder: Path
    ) -> None:
        self.configuration = configuration
        self.inputs = inputs
        self.checkpoint = inputs.checkpoint
        self.sources = sources
        self.folder = folder
        self.entries: list[GraphFile] = []
        self.scores: dict[str, list[Score]] = {}

    def write_format(self, format_name: str) -> None:
        """Write all precisions of one format; fp32 always, since head and explain are that in every variant."""
        print(f"writing {format_name}", file=sys.stderr)
        graphs = self._split(self.sources.model, LAYOUTS[format_name])
        write: Callable[[dict[Role, RoleGraph]], None] = (
            self._write_onnx if format_name == "onnx" else self._write_tflite
        )
        write(graphs)

    def _split(
        self, model: nn.Module, layout: Layout, *, explicit_padding: bool | None = None
    ) -> dict[Role, RoleGraph]:
        return split_model(
            model,
            layout,
            size=self.checkpoint.input_size,
            temperature=self.checkpoint.temperature,
            metadata_size=self.inputs.model.head.metadata_size,
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

        self._add(write_fp32(self.sources.model, graphs, self.folder), graphs, "fp32")
        if "fp16" in self.configuration.precisions:
            self._add(onnx_graphs.write_fp16(graphs, self.folder, properties), graphs, "fp16")
        if "int8" in self.configuration.precisions:
            self._add(self._write_int8("onnx", graphs, write_fp32, write_int8), graphs, "int8")

    def _write_tflite(self, graphs: dict[Role, RoleGraph]) -> None:
        with capture_output("loading the TFLite converter"):
            from export.formats import tflite_graphs

        written = {"fp32": self._convert_tflite(self.sources.model, graphs, self.folder)}
        for precision in ("fp16", "dynamic"):
            if precision in self.configuration.precisions:
                written[precision] = tflite_graphs.write_light(self.folder, precision)
        if "int8" in self.configuration.precisions:
            written["int8"] = self._write_int8("tflite", graphs, self._convert_tflite, tflite_graphs.write_int8)
        properties = file_properties(self.checkpoint)
        description = f"{properties['architecture']} for dermoscopic images; {properties['warning']}"
        tflite_graphs.add_metadata(self.folder, graphs, description, self.checkpoint.licence)
        for precision, paths in written.items():
            self._add(paths, graphs, precision)

    def _convert_tflite(self, model: nn.Module, graphs: dict[Role, RoleGraph], folder: Path) -> dict[Role, Path]:
        """Write the fp32 TFLite files of a model by the route that was asked for."""
        from export.formats import tflite_graphs, tflite_writer

        if self.configuration.tflite_via == "onnx2tf":
            channels_first = with_channels_first_image(self._split(model, "NCHW", explicit_padding=True))
            converted = onnx2tf_route.convert_roles(channels_first, self.inputs.calibration.images)
        else:
            converted = tflite_writer.convert_roles(graphs)
        return tflite_graphs.write_fp32(converted, folder)

    def _write_int8(
        self, format_name: str, graphs: dict[Role, RoleGraph], write_fp32: WriteFp32, write_int8: WriteInt8
    ) -> dict[Role, Path]:
        """Write the int8 files; while no recipe reaches the goal, again from weights prepared for int8, and keep what
        is closest to the float predictions."""
        material = self._material(graphs)
        paths, scores = write_int8(graphs, self.folder, material)
        least = best_of(scores).divergence
        others: tuple[Weights, ...] = ("equalised", "fine-tuned") if self.configuration.qat else ("equalised",)
        for name in others:
            if least <= material.goal:
                break
            source = self.sources.get(name)
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
            images=self.inputs.calibration.images,
            layers=self.sources.get("trained").layers,
            selection=self._selection_set(graphs),
            calibrators=tuple(name for name in CALIBRATORS if chosen in ("auto", name)),
            goal=self.configuration.goal(demo=self.checkpoint.demo),
            threads=self.configuration.threads,
        )

    def _selection_set(self, graphs: dict[Role, RoleGraph]) -> SelectionSet:
        images = self.inputs.selection
        metadata = images.patient_vectors(self.checkpoint.metadata_spec)
        with torch.no_grad():
            batches = np.array_split(images.images, max(1, len(images) // 16))
            maps = [graphs["features"].module(torch.from_numpy(batch))["feature_map"].numpy() for batch in batches]
        probabilities = head_probabilities(head_of(graphs), np.concatenate(maps), metadata)
        return SelectionSet(images.images, images.truth, probabilities, metadata)

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
