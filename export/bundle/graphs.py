"""The graph files of one bundle, from a checkpoint's model: every format, precision and role."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge_runtime.bundle.manifest import GraphFile, Role
from edge_runtime.imaging.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.bundle.manifest_entries import graph_entry
from export.bundle.sources import BackboneSource, BackboneSources, Weights
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

CONVERTED: tuple[Role, ...] = ("features", "head", "explain")
"""The roles that a converter sees; ``model`` is put together from the first two."""

Contents = dict[Role, bytes]
"""Files by role."""

Quantise = Callable[[BackboneSource, Int8Material], tuple[Contents, list[Score]]]


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
        from export.formats.onnx_writer import convert_onnx, file_content

        backbone = self.sources.get("trained").graph
        head, explain = (convert_onnx(graphs[role]) for role in ("head", "explain"))
        properties = file_properties(self.checkpoint)

        def contents(models: onnx_graphs.Models, **more: str) -> Contents:
            return {role: file_content(model, {**properties, "role": role, **more}) for role, model in models.items()}

        def quantise(source: BackboneSource, material: Int8Material) -> tuple[Contents, list[Score]]:
            models, recipe, scores = onnx_graphs.int8(source.graph, head, head_of(graphs), material)
            return contents(models, quantisation=str(recipe)), scores

        self._add(contents(onnx_graphs.fp32(backbone, head, explain)), graphs, "fp32", "onnx")
        if "fp16" in self.configuration.precisions:
            self._add(contents(onnx_graphs.fp16(backbone, head)), graphs, "fp16", "onnx")
        if "int8" in self.configuration.precisions:
            self._add(self._int8("onnx", graphs, quantise), graphs, "int8", "onnx")

    def _write_tflite(self, graphs: dict[Role, RoleGraph]) -> None:
        with capture_output("loading the TFLite converter"):
            from export.formats import tflite_graphs
            from export.formats.tflite_metadata import with_metadata

        full = tflite_graphs.fp32(self._convert_tflite(self.sources.model, CONVERTED))

        def quantise(source: BackboneSource, material: Int8Material) -> tuple[Contents, list[Score]]:
            trained = source.model is self.sources.model
            backbone = full["features"] if trained else self._convert_tflite(source.model, ("features",))["features"]
            return tflite_graphs.int8(backbone, full["head"], head_of(graphs), material)

        written = {"fp32": full}
        for precision in ("fp16", "dynamic"):
            if precision in self.configuration.precisions:
                written[precision] = tflite_graphs.light(full, precision)
        if "int8" in self.configuration.precisions:
            written["int8"] = self._int8("tflite", graphs, quantise)
        properties = file_properties(self.checkpoint)
        texts = f"{properties['architecture']} for dermoscopic images; {properties['warning']}", self.checkpoint.licence
        codes = self.checkpoint.classes.codes
        for precision, contents in written.items():
            described = {
                role: with_metadata(content, graphs[role], codes, f"dermedge {role}", *texts)
                for role, content in contents.items()
            }
            self._add(described, graphs, precision, "tflite")

    def _convert_tflite(self, model: nn.Module, roles: tuple[Role, ...]) -> Contents:
        """Return roles of a model as fp32 TFLite files by the route that was asked for."""
        from export.formats import tflite_writer

        if self.configuration.tflite_via == "onnx2tf":
            graphs = with_channels_first_image(self._split(model, "NCHW", explicit_padding=True))
            return onnx2tf_route.convert_roles({role: graphs[role] for role in roles}, self.inputs.calibration.images)
        graphs = self._split(model, "NHWC")
        return {role: tflite_writer.convert_tflite(graphs[role]) for role in roles}

    def _int8(self, format_name: str, graphs: dict[Role, RoleGraph], quantise: Quantise) -> Contents:
        """Return the int8 files; while no recipe reaches the goal, they are made again from weights prepared for int8,
        and those are kept that are closest to the float predictions."""
        material = self._material(graphs)
        kept, scores = quantise(self.sources.get("trained"), material)
        least = best_of(scores).divergence
        others: tuple[Weights, ...] = ("equalised", "fine-tuned") if self.configuration.qat else ("equalised",)
        for name in others:
            if least <= material.goal:
                break
            source = self.sources.get(name)
            contents, tried = quantise(source, replace(material, layers=source.layers))
            scores = scores + [replace(score, recipe=f"{name}, {score.recipe}") for score in tried]
            if best_of(tried).divergence < least:
                kept, least = contents, best_of(tried).divergence
        self.scores[format_name] = scores
        return kept

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

    def _add(self, contents: Contents, graphs: dict[Role, RoleGraph], precision: str, extension: str) -> None:
        """Write the files ``<role>.<precision>.<extension>``."""
        for role, content in contents.items():
            path = self.folder / f"{role}.{precision}.{extension}"
            path.write_bytes(content)
            self.entries.append(graph_entry(path, graphs[role], precision))


def best_of(scores: list[Score]) -> Score:
    """Return the score of the recipe that was kept."""
    return min(scores, key=lambda score: score.divergence)


def file_properties(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what every ONNX file says of itself, for readers that do not know the manifest."""
    return {
        "architecture": checkpoint.architecture,
        "class_names": json.dumps([one.name for one in checkpoint.classes.classes]),
        "classes": json.dumps(list(checkpoint.classes.codes)),
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
