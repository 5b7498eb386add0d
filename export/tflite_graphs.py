"""All TFLite files of a bundle: fp32, fp16, dynamic range and int8 of every role."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.manifest import Role
from export import tflite_quantisation
from export.activation_ranges import Range, choose_ranges
from export.calibration_data import LabelledPictures
from export.int8_choice import HoldOut, Recipe, Score, choose_recipe
from export.split_model import RoleGraph, head_of
from export.tflite_writer import convert_tflite


def write_fp32(graphs: dict[Role, RoleGraph], folder: Path) -> dict[Role, Path]:
    """Write the four roles as ``<role>.fp32.tflite`` and return their paths."""
    paths: dict[Role, Path] = {}
    for role, graph in graphs.items():
        paths[role] = folder / f"{role}.fp32.tflite"
        paths[role].write_bytes(convert_tflite(graph))
    return paths


def write_int8(
    graphs: dict[Role, RoleGraph],
    folder: Path,
    calibration: LabelledPictures,
    hold_out: HoldOut,
    recipes: list[Recipe],
    threads: int,
) -> tuple[dict[Role, Path], Recipe, list[Score]]:
    """Write ``features`` and ``model`` as int8, by the recipe that keeps the answers best; return all scores."""
    trunk = (folder / "features.fp32.tflite").read_bytes()
    whole = (folder / "model.fp32.tflite").read_bytes()
    statistics = tflite_quantisation.record_statistics(trunk, calibration.images, threads)

    def build(recipe: Recipe) -> bytes:
        return tflite_quantisation.quantise_int8(trunk, choose_ranges(statistics, recipe.calibrator))

    recipe, features, scores = choose_recipe(recipes, build, "tflite", head_of(graphs), hold_out, threads)
    ranges, float_scopes = whole_model_plan(trunk, whole, choose_ranges(statistics, recipe.calibrator))
    contents: dict[Role, bytes] = {
        "features": features,
        "model": tflite_quantisation.quantise_int8(whole, ranges, float_scopes),
    }
    paths: dict[Role, Path] = {}
    for role, content in contents.items():
        paths[role] = folder / f"{role}.int8.tflite"
        paths[role].write_bytes(content)
    return paths, recipe, scores


def whole_model_plan(trunk: bytes, whole: bytes, ranges: dict[str, Range]) -> tuple[dict[str, Range], list[str]]:
    """Carry the trunk's ranges over to the whole network's graph, whose first operators are the trunk's.

    Returns the ranges by the whole graph's tensor names, and the scopes of the head's operators, which stay float.
    """
    trunk_outputs = tflite_quantisation.operator_outputs(trunk)
    whole_outputs = tflite_quantisation.operator_outputs(whole)
    translated = {
        whole_name: ranges[trunk_name]
        for (_, trunk_name), (_, whole_name) in zip(trunk_outputs, whole_outputs, strict=False)
        if trunk_name in ranges
    }
    operators = [operator for operator, _ in trunk_outputs]
    assert operators == [operator for operator, _ in whole_outputs[: len(operators)]], "one network, converted twice"
    scopes = [scope for scope, _ in tflite_quantisation.operator_scopes(whole)]
    return translated, scopes[len(operators) :]
