"""All ONNX files of a bundle: fp32, fp16 and int8 of every role."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import nn

from edge_runtime.manifest import Role
from export import onnx_quantisation
from export.activation_ranges import choose_ranges
from export.calibration_data import LabelledPictures
from export.int8_choice import HoldOut, Recipe, Score, choose_recipe
from export.onnx_writer import clean, save_onnx, write_onnx
from export.split_model import RoleGraph, head_of


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
    calibration: LabelledPictures,
    hold_out: HoldOut,
    recipes: list[Recipe],
    threads: int,
) -> tuple[dict[Role, Path], Recipe, list[Score]]:
    """Write ``features`` and ``model`` as int8, by the recipe that keeps the answers best; return all scores."""
    trunk = onnx.load(folder / "features.fp32.onnx")
    statistics = onnx_quantisation.record_statistics(trunk, calibration.images)

    def build(recipe: Recipe) -> bytes:
        ranges = choose_ranges(statistics, recipe.calibrator)
        return onnx_quantisation.quantise_int8(trunk, ranges).SerializeToString()

    recipe, features, scores = choose_recipe(recipes, build, "onnx", head_of(graphs), hold_out, threads)
    quantised = clean(onnx.load_from_string(features), "features")
    tail = _write_tail(graphs, folder)
    paths: dict[Role, Path] = {}
    models: dict[Role, ModelProto] = {
        "features": quantised,
        "model": onnx_quantisation.compose_model(quantised, tail, "model"),
    }
    for role, model in models.items():
        paths[role] = folder / f"{role}.int8.onnx"
        save_onnx(model, paths[role], {**properties, "role": role, "quantisation": str(recipe)})
    return paths, recipe, scores


def _write_tail(graphs: dict[Role, RoleGraph], folder: Path) -> ModelProto:
    """Return the float graph from the feature map to the probabilities."""
    head = graphs["head"]
    tail = replace(head, module=ProbabilitiesTail(head.module).eval(), outputs=("probabilities",))
    path = folder / "tail.onnx"
    try:
        return onnx.load(write_onnx(tail, path, {}))
    finally:
        path.unlink(missing_ok=True)
