"""All TFLite files of a bundle: fp32, fp16, dynamic range and int8 of every role."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

from edge_runtime.bundle.manifest import Role
from export.formats import tflite_quantisation
from export.formats.tflite_metadata import with_metadata
from export.int8.activation_ranges import Range, choose_ranges
from export.int8.layer_inputs import LayerInputs
from export.int8.recipe_search import Int8Material, Recipe, Score, choose_recipe
from export.int8.weight_rounding import round_layers
from export.roles.split_model import RoleGraph, head_of


def write_fp32(contents: dict[Role, bytes], folder: Path) -> dict[Role, Path]:
    """Write the four converted roles as ``<role>.fp32.tflite`` and return their paths."""
    return _write(contents, folder, "fp32")


def write_int8(
    graphs: dict[Role, RoleGraph],
    folder: Path,
    material: Int8Material,
) -> tuple[dict[Role, Path], list[Score]]:
    """Write ``features`` and ``model`` as int8, by the recipe that changes the predictions least; return all scores.

    They are made from the fp32 files in the folder.
    """
    backbone = (folder / "features.fp32.tflite").read_bytes()
    whole = (folder / "model.fp32.tflite").read_bytes()
    rounded = cache(lambda compensate: round_layers(material.layers, compensate=compensate, pair_limit=False))
    statistics = tflite_quantisation.record_statistics(backbone, material.images, material.threads)

    def build(recipe: Recipe) -> bytes:
        prepared = tflite_quantisation.with_rounded_weights(
            backbone, _without(material.layers, recipe.float_layers), rounded(recipe.compensate)
        )
        float_scopes = tflite_quantisation.scopes_of_layers(backbone, material.layers, recipe.float_layers)
        return tflite_quantisation.quantise_int8(prepared, choose_ranges(statistics, recipe.calibrator), float_scopes)

    recipe, features, scores = choose_recipe(build, "tflite", head_of(graphs), material)
    ranges, float_scopes = whole_model_plan(backbone, whole, choose_ranges(statistics, recipe.calibrator))
    float_scopes += tflite_quantisation.scopes_of_layers(whole, material.layers, recipe.float_layers)
    whole = tflite_quantisation.with_rounded_weights(
        whole, _without(material.layers, recipe.float_layers), rounded(recipe.compensate)
    )
    contents: dict[Role, bytes] = {
        "features": features,
        "model": tflite_quantisation.quantise_int8(whole, ranges, float_scopes),
    }
    return _write(contents, folder, "int8"), scores


def write_light(folder: Path, precision: str) -> dict[Role, Path]:
    """Write ``features`` and ``model`` as ``fp16`` or ``dynamic``, which need no calibration."""
    convert = {"fp16": tflite_quantisation.to_fp16, "dynamic": tflite_quantisation.quantise_dynamic}[precision]
    backbone = (folder / "features.fp32.tflite").read_bytes()
    whole = (folder / "model.fp32.tflite").read_bytes()
    contents: dict[Role, bytes] = {"features": convert(backbone), "model": convert(whole, head_scopes(backbone, whole))}
    return _write(contents, folder, precision)


def add_metadata(folder: Path, graphs: dict[Role, RoleGraph], description: str, licence: str) -> None:
    """Put names, labels and the image's description into every TFLite file written so far."""
    for path in sorted(folder.glob("*.tflite")):
        role = cast(Role, path.name.split(".")[0])
        path.write_bytes(with_metadata(path.read_bytes(), graphs[role], f"dermedge {role}", description, licence))


def _without(layers: dict[str, LayerInputs], names: tuple[str, ...]) -> dict[str, LayerInputs]:
    return {name: layer for name, layer in layers.items() if name not in names}


def _write(contents: dict[Role, bytes], folder: Path, precision: str) -> dict[Role, Path]:
    paths: dict[Role, Path] = {}
    for role, content in contents.items():
        paths[role] = folder / f"{role}.{precision}.tflite"
        paths[role].write_bytes(content)
    return paths


def whole_model_plan(backbone: bytes, whole: bytes, ranges: dict[str, Range]) -> tuple[dict[str, Range], list[str]]:
    """Carry the backbone's ranges over to the whole network's graph, whose first operators are the backbone's.

    Returns the ranges by the whole graph's tensor names, and the scopes of the head's operators, which stay float.
    """
    backbone_outputs = tflite_quantisation.operator_outputs(backbone)
    whole_outputs = tflite_quantisation.operator_outputs(whole)
    translated = {
        whole_name: ranges[backbone_name]
        for (_, backbone_name), (_, whole_name) in zip(backbone_outputs, whole_outputs, strict=False)
        if backbone_name in ranges
    }
    return translated, head_scopes(backbone, whole)


def head_scopes(backbone: bytes, whole: bytes) -> list[str]:
    """Return the scopes of the operators that the whole network has after the backbone's."""
    operators = [operator for _, operator in tflite_quantisation.operator_scopes(backbone)]
    scopes = tflite_quantisation.operator_scopes(whole)
    assert operators == [operator for _, operator in scopes[: len(operators)]], "one network, converted twice"
    return [scope for scope, _ in scopes[len(operators) :]]
