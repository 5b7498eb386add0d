"""All ONNX files of a bundle: fp32, fp16 and int8 of every role."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from onnx import ModelProto
from torch import nn

from edge_runtime.bundle.manifest import Role
from export.formats import onnx_quantisation
from export.formats.onnx_image_input import with_centred_image
from export.formats.onnx_writer import clean, save_onnx, write_onnx
from export.int8.activation_ranges import choose_ranges
from export.int8.layer_inputs import LayerInputs, record_layer_inputs
from export.int8.recipe_search import Int8Material, Recipe, Score, choose_recipe
from export.int8.weight_rounding import round_layers
from export.roles.split_model import RoleGraph, head_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ProbabilitiesTail(nn.Module):
    """``feature_map`` (and ``metadata``) → ``probabilities``: what follows ``features`` in the ``model`` role."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, feature_map: torch.Tensor, metadata: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"probabilities": torch.softmax(self.head(feature_map, metadata)["logits"], dim=1)}


def write_fp32(graphs: dict[Role, RoleGraph], folder: Path, properties: dict[str, str]) -> dict[Role, Path]:
    """Write the four roles as ``<role>.fp32.onnx`` and return their paths."""
    return {
        role: write_onnx(graph, folder / f"{role}.fp32.onnx", {**properties, "role": role})
        for role, graph in graphs.items()
    }


def write_int8(
    graphs: dict[Role, RoleGraph],
    folder: Path,
    properties: dict[str, str],
    material: Int8Material,
) -> tuple[dict[Role, Path], list[Score]]:
    """Write ``features`` and ``model`` as int8, by the recipe that changes the predictions least; return all scores.

    They are made from the fp32 files in the folder.
    """
    backbone = with_centred_image(onnx.load(folder / "features.fp32.onnx"))
    rounded = cache(lambda compensate: round_layers(material.layers, compensate=compensate, pair_limit=True))
    statistics = onnx_quantisation.record_statistics(backbone, material.images)

    def build(recipe: Recipe) -> bytes:
        ranges = choose_ranges(statistics, recipe.calibrator)
        return onnx_quantisation.quantise_int8(
            backbone, ranges, rounded(recipe.compensate), frozenset(recipe.float_layers)
        ).SerializeToString()

    recipe, features, scores = choose_recipe(build, "onnx", head_of(graphs), material)
    quantised = clean(onnx.load_from_string(features), "features")
    return _write_pair(quantised, graphs, folder, {**properties, "quantisation": str(recipe)}, "int8"), scores


def write_fp16(graphs: dict[Role, RoleGraph], folder: Path, properties: dict[str, str]) -> dict[Role, Path]:
    """Write ``features`` and ``model`` with a backbone in half precision."""
    features = clean(onnx_quantisation.to_fp16(onnx.load(folder / "features.fp32.onnx")), "features")
    return _write_pair(features, graphs, folder, properties, "fp16")


def record_layers(folder: Path, images: NDArray[np.uint8]) -> dict[str, LayerInputs]:
    """Return what the convolutions of the written fp32 backbone see on the calibration images.

    The first one's input is centred as in int8 graphs, where rounded weights are used.
    """
    return record_layer_inputs(with_centred_image(onnx.load(folder / "features.fp32.onnx")), images)


def _write_pair(
    features: ModelProto, graphs: dict[Role, RoleGraph], folder: Path, properties: dict[str, str], precision: str
) -> dict[Role, Path]:
    """Write a backbone as ``features``, and with the float head behind it as ``model``."""
    whole = onnx_quantisation.compose_model(features, _write_tail(graphs, folder), "model")
    models: dict[Role, ModelProto] = {"features": features, "model": whole}
    paths: dict[Role, Path] = {}
    for role, model in models.items():
        paths[role] = folder / f"{role}.{precision}.onnx"
        save_onnx(model, paths[role], {**properties, "role": role})
    return paths


def _write_tail(graphs: dict[Role, RoleGraph], folder: Path) -> ModelProto:
    """Return the float graph from the feature map to the probabilities."""
    head = graphs["head"]
    tail = replace(head, module=ProbabilitiesTail(head.module).eval(), outputs=("probabilities",))
    path = folder / "tail.onnx"
    try:
        return onnx.load(write_onnx(tail, path, {}))
    finally:
        path.unlink(missing_ok=True)
