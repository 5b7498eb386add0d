"""The TFLite graphs of a bundle: fp32, fp16, dynamic range and int8 of every role, as files' contents.

A network is converted once per set of weights, as ``features``; everything else is made from that graph.
"""

from __future__ import annotations

from functools import cache

from edge_runtime.bundle.manifest import Role
from export.formats import tflite_quantisation
from export.formats.tflite_composition import compose_model
from export.int8.activation_ranges import Range, choose_ranges
from export.int8.layer_inputs import LayerInputs
from export.int8.recipe_search import Int8Material, Recipe, Score, choose_recipe
from export.int8.weight_rounding import round_layers
from export.roles.split_model import HeadGraph

Contents = dict[Role, bytes]


def fp32(converted: Contents) -> Contents:
    """Return the four roles from the three that were converted."""
    return {**converted, "model": compose_model(converted["features"], converted["head"])}


def int8(backbone: bytes, head: bytes, head_module: HeadGraph, material: Int8Material) -> tuple[Contents, list[Score]]:
    """Return ``features`` and ``model`` as int8, by the recipe that changes the predictions least, and all scores."""
    rounded = cache(lambda compensate: round_layers(material.layers, compensate=compensate, pair_limit=False))
    statistics = tflite_quantisation.record_statistics(backbone, material.images, material.threads)

    def build(recipe: Recipe) -> bytes:
        prepared = tflite_quantisation.with_rounded_weights(
            backbone, _without(material.layers, recipe.float_layers), rounded(recipe.compensate)
        )
        float_scopes = tflite_quantisation.scopes_of_layers(backbone, material.layers, recipe.float_layers)
        return tflite_quantisation.quantise_int8(prepared, choose_ranges(statistics, recipe.calibrator), float_scopes)

    recipe, features, scores = choose_recipe(build, "tflite", head_module, material)
    whole = compose_model(backbone, head)
    ranges, float_scopes = whole_model_plan(backbone, whole, choose_ranges(statistics, recipe.calibrator))
    float_scopes += tflite_quantisation.scopes_of_layers(whole, material.layers, recipe.float_layers)
    whole = tflite_quantisation.with_rounded_weights(
        whole, _without(material.layers, recipe.float_layers), rounded(recipe.compensate)
    )
    return {"features": features, "model": tflite_quantisation.quantise_int8(whole, ranges, float_scopes)}, scores


def light(full: Contents, precision: str) -> Contents:
    """Return ``features`` and ``model`` as ``fp16`` or ``dynamic``, which need no calibration, from the fp32 ones."""
    convert = {"fp16": tflite_quantisation.to_fp16, "dynamic": tflite_quantisation.quantise_dynamic}[precision]
    backbone, whole = full["features"], full["model"]
    return {"features": convert(backbone), "model": convert(whole, head_scopes(backbone, whole))}


def _without(layers: dict[str, LayerInputs], names: tuple[str, ...]) -> dict[str, LayerInputs]:
    return {name: layer for name, layer in layers.items() if name not in names}


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
