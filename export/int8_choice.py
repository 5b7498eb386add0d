"""Choosing among int8 graphs by what they do to the answers, on pictures that nothing else was fitted on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.backends import backend
from edge_runtime.classifier import calibrated_probabilities
from export.layer_inputs import LayerInputs
from export.split_model import HeadGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Recipe:
    """One way to quantise: how ranges are chosen, how weights are rounded, and which layers stay float."""

    calibrator: str
    compensate: bool = True
    float_layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        floats = f", {len(self.float_layers)} layers in float" if self.float_layers else ""
        weights = "compensated" if self.compensate else "nearest"
        return f"{self.calibrator}, {weights} weights{floats}"


@dataclass(frozen=True)
class Score:
    """How far a graph's answers on the hold-out are from the float graph's.

    ``divergence`` is the mean Kullback-Leibler divergence of the probabilities in nats: unlike agreement it also sees
    the pictures whose answer nearly changed. ``agreement`` and ``accuracy_change`` are fractions.
    """

    recipe: str
    divergence: float
    agreement: float
    accuracy_change: float


@dataclass(frozen=True)
class HoldOut:
    """Pictures uint8 [N,S,S,3], their truth [N], and the float model's probabilities float64 [N,7]."""

    images: NDArray[np.uint8]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    metadata: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Int8Material:
    """What int8 graphs are made from: calibration pictures uint8 [N,S,S,3], what the layers see on them, and the
    hold-out and recipes to choose by. The hold-out's metadata and probabilities fit the format's head."""

    images: NDArray[np.uint8]
    layers: dict[str, LayerInputs]
    hold_out: HoldOut
    recipes: tuple[Recipe, ...]
    threads: int


def choose_recipe(
    build: Callable[[Recipe], bytes], engine: str, head: HeadGraph, material: Int8Material
) -> tuple[Recipe, bytes, list[Score]]:
    """Build every recipe's ``features`` graph and return the one with the least divergence, and all scores."""
    scores: list[Score] = []
    best: tuple[Recipe, bytes] | None = None
    progress = tqdm(material.recipes, desc=f"{engine} int8 recipes", disable=not sys.stderr.isatty())
    for recipe in progress:
        graph = build(recipe)
        score = score_graph(graph, str(recipe), engine, head, material.hold_out, material.threads)
        if best is None or score.divergence < min(other.divergence for other in scores):
            best = recipe, graph
        scores.append(score)
    assert best is not None, "there is at least one recipe"
    return *best, scores


def score_graph(graph: bytes, name: str, engine: str, head: HeadGraph, hold_out: HoldOut, threads: int) -> Score:
    """Run a ``features`` graph on the hold-out, then the float head, and compare with the float model."""
    run = backend(engine).load_graph(graph, threads, 1)
    maps = [run({"image_nhwc": image[np.newaxis]})["feature_map"] for image in hold_out.images]
    probabilities = head_probabilities(head, np.concatenate(maps), hold_out.metadata)
    reference = hold_out.probabilities
    divergence = (reference * (np.log(reference + 1e-12) - np.log(probabilities + 1e-12))).sum(1).mean()
    answers, reference_answers = probabilities.argmax(1), reference.argmax(1)
    return Score(
        recipe=name,
        divergence=float(divergence),
        agreement=float((answers == reference_answers).mean()),
        accuracy_change=float((answers == hold_out.truth).mean() - (reference_answers == hold_out.truth).mean()),
    )


def head_probabilities(
    head: HeadGraph, feature_maps: NDArray[np.float32], metadata: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """Return the float head's probabilities [N,7] for feature maps in the head's layout."""
    with torch.no_grad():
        patients = None if metadata is None else torch.from_numpy(metadata)
        logits = head(torch.from_numpy(np.ascontiguousarray(feature_maps)), patients)["logits"]
    return calibrated_probabilities(logits.numpy())
