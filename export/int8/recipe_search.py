"""Choosing among int8 graphs by what they do to the predictions, on images that nothing else was fitted on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.classifier import calibrated_probabilities
from edge_runtime.engines import backend
from export.int8.layer_inputs import LayerInputs
from export.roles.split_model import HeadGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FLOAT_LAYERS = 4
MOST_FLOAT_TRIALS = 6
HARM_IMAGES = 40


@dataclass(frozen=True)
class Recipe:
    """One way to quantise: how ranges are chosen, how weights are rounded, and which layers stay float."""

    calibrator: str
    compensate: bool = False
    float_layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        floats = f", {' '.join(self.float_layers)} in float" if self.float_layers else ""
        weights = "compensated" if self.compensate else "nearest"
        return f"{self.calibrator}, {weights} weights{floats}"


@dataclass(frozen=True)
class Score:
    """How far a graph's predictions for the selection set are from the float graph's.

    ``divergence`` is the mean Kullback-Leibler divergence of the probabilities in nats: unlike agreement it also sees
    the images whose prediction nearly changed. ``agreement`` and ``accuracy_change`` are fractions.
    """

    recipe: str
    divergence: float
    agreement: float
    accuracy_change: float


@dataclass(frozen=True)
class SelectionSet:
    """Images uint8 [N,S,S,3], their truth [N], and the float model's probabilities float64 [N,C]."""

    images: NDArray[np.uint8]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    metadata: NDArray[np.float32] | None = None

    def first(self, count: int) -> SelectionSet:
        """Return the first images alone; they are as evenly spread over the classes as all."""
        metadata = None if self.metadata is None else self.metadata[:count]
        return SelectionSet(self.images[:count], self.truth[:count], self.probabilities[:count], metadata)


@dataclass(frozen=True)
class Int8Material:
    """What int8 graphs are made from: calibration images uint8 [N,S,S,3], what the layers see on them, and the
    selection set and calibrators to choose by. The set's metadata and probabilities fit the format's head."""

    images: NDArray[np.uint8]
    layers: dict[str, LayerInputs]
    selection: SelectionSet
    calibrators: tuple[str, ...]
    goal: float
    threads: int


def choose_recipe(
    build: Callable[[Recipe], bytes], engine: str, head: HeadGraph, material: Int8Material
) -> tuple[Recipe, bytes, list[Score]]:
    """Return the best recipe with its ``features`` graph, and the scores of all that were tried.

    First the calibrators are compared. Only while the predictions diverge more than the goal allows, rounding
    errors are compensated, and then the layers that hurt most stay in float, one after the other; a layer whose float
    does not help beside the ones before it is quantised again.
    """
    search = _Search(build, engine, head, material)
    for calibrator in material.calibrators:
        search.attempt(Recipe(calibrator))
    if search.best_score.divergence > material.goal:
        search.attempt(replace(search.best, compensate=True))
    if search.best_score.divergence > material.goal:
        for layer in search.layers_by_harm()[:MOST_FLOAT_TRIALS]:
            if search.best_score.divergence > material.goal and len(search.best.float_layers) < MOST_FLOAT_LAYERS:
                search.attempt(replace(search.best, float_layers=(*search.best.float_layers, layer)))
    return search.best, search.best_graph, search.scores


class _Search:
    """The best recipe so far, and everything that was tried."""

    def __init__(self, build: Callable[[Recipe], bytes], engine: str, head: HeadGraph, material: Int8Material) -> None:
        self.build = build
        self.engine = engine
        self.head = head
        self.material = material
        self.scores: list[Score] = []
        self.best = Recipe("none")
        self.best_graph = b""
        self.best_score = Score("none", np.inf, 0.0, 0.0)
        self.progress = tqdm(desc=f"{engine} int8 recipes", unit="", disable=not sys.stderr.isatty())

    def attempt(self, recipe: Recipe) -> Score:
        """Build and score a recipe, and keep it if it is the best so far."""
        graph = self.build(recipe)
        score = self._score(graph, str(recipe), self.material.selection)
        self.scores.append(score)
        self.progress.update()
        if score.divergence < self.best_score.divergence:
            self.best, self.best_graph, self.best_score = recipe, graph, score
        return score

    def layers_by_harm(self) -> list[str]:
        """Return the layers by how much better the predictions become when one of them alone stays float.

        The first layer is never one of them: it reads the image's bytes, and in float it, normalisation before it and
        pooling behind it would take a third of a ResNet18's time.
        """
        some = self.material.selection.first(HARM_IMAGES)
        divergences = {}
        for name in list(self.material.layers)[1:]:
            graph = self.build(replace(self.best, float_layers=(name,)))
            score = self._score(graph, name, some)
            divergences[name] = score.divergence
            self.progress.update()
        return sorted(divergences, key=lambda name: divergences[name])

    def _score(self, graph: bytes, name: str, selection: SelectionSet) -> Score:
        """Run a ``features`` graph on the selection set, then the float head, and compare with the float model."""
        run = backend(self.engine).load_graph(graph, self.material.threads, 1)
        maps = [run({"image_nhwc": image[np.newaxis]})["feature_map"] for image in selection.images]
        probabilities = head_probabilities(self.head, np.concatenate(maps), selection.metadata)
        reference = selection.probabilities
        divergence = (reference * (np.log(reference + 1e-12) - np.log(probabilities + 1e-12))).sum(1).mean()
        predicted, expected = probabilities.argmax(1), reference.argmax(1)
        return Score(
            recipe=name,
            divergence=float(divergence),
            agreement=float((predicted == expected).mean()),
            accuracy_change=float((predicted == selection.truth).mean() - (expected == selection.truth).mean()),
        )


def head_probabilities(
    head: HeadGraph, feature_maps: NDArray[np.float32], metadata: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """Return the float head's probabilities [N,C] for feature maps in the head's layout."""
    with torch.no_grad():
        patients = None if metadata is None else torch.from_numpy(metadata)
        logits = head(torch.from_numpy(np.ascontiguousarray(feature_maps)), patients)["logits"]
    return calibrated_probabilities(logits.numpy())
