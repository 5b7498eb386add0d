"""The ONNX graphs of a bundle: fp32, fp16 and int8 of every role, as files' contents.

A network is converted once per set of weights, as ``features``; everything else is made from that graph.
"""

from __future__ import annotations

from functools import cache

import onnx
from onnx import ModelProto

from edge_runtime.bundle.manifest import Role
from export.formats import onnx_quantisation
from export.formats.onnx_image_input import with_centred_image
from export.formats.onnx_writer import clean
from export.int8.activation_ranges import choose_ranges
from export.int8.recipe_search import Int8Material, Recipe, Score, choose_recipe
from export.int8.weight_rounding import round_layers
from export.roles.split_model import HeadGraph

Models = dict[Role, ModelProto]


def fp32(backbone: ModelProto, head: ModelProto, explain: ModelProto) -> Models:
    """Return the four roles from the three that were converted."""
    return {"features": backbone, "head": head, "explain": explain, "model": compose_model(backbone, head)}


def fp16(backbone: ModelProto, head: ModelProto) -> Models:
    """Return ``features`` and ``model`` with a backbone in half precision."""
    return _pair(clean(onnx_quantisation.to_fp16(backbone), "features"), head)


def int8(
    backbone: ModelProto, head: ModelProto, head_module: HeadGraph, material: Int8Material
) -> tuple[Models, Recipe, list[Score]]:
    """Return ``features`` and ``model`` as int8, by the recipe that changes the predictions least, which is returned
    too, with the scores of all."""
    backbone = with_centred_image(backbone)
    rounded = cache(lambda compensate: round_layers(material.layers, compensate=compensate, pair_limit=True))
    statistics = onnx_quantisation.record_statistics(backbone, material.images)

    def build(recipe: Recipe) -> bytes:
        ranges = choose_ranges(statistics, recipe.calibrator)
        return onnx_quantisation.quantise_int8(
            backbone, ranges, rounded(recipe.compensate), frozenset(recipe.float_layers)
        ).SerializeToString()

    recipe, features, scores = choose_recipe(build, "onnx", head_module, material)
    return _pair(clean(onnx.load_from_string(features), "features"), head), recipe, scores


def compose_model(features: ModelProto, head: ModelProto) -> ModelProto:
    """Return the ``model`` graph: ``features``, then what the head needs for its logits, then their softmax."""
    inputs = [value.name for value in head.graph.input]
    tail = onnx.utils.Extractor(head).extract_model(inputs, ["logits"])
    del tail.graph.value_info[:]  # the inputs are among them, and would be renamed with them
    tail.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    tail.graph.output[0].name = "probabilities"
    prefixed = onnx.compose.add_prefix(tail, "head.", rename_inputs=False, rename_outputs=False)
    backbone = onnx.compose.add_prefix(features, "features.", rename_inputs=False, rename_outputs=False)
    return clean(onnx.compose.merge_models(backbone, prefixed, io_map=[("feature_map", "feature_map")]), "model")


def _pair(features: ModelProto, head: ModelProto) -> Models:
    """Return a backbone as ``features``, and with the float head behind it as ``model``."""
    return {"features": features, "model": compose_model(features, head)}
