"""Which weights the int8 files are made from: as trained, equalised or fine-tuned, whichever come closest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from export.bundle.graphs import BundleGraphs, Contents
from export.bundle.sources import BackboneSource
from export.configuration import ExportConfiguration
from export.int8.layer_inputs import LayerInputs
from export.int8.recipe_search import Int8Material, Score, SelectionSet

GOAL = 0.1


class NoSources:
    """Stands in for the weights, which no file of a rehearsal holds."""

    def get(self, _: str) -> BackboneSource:
        return WithoutLayers(nn.Identity(), None)  # type: ignore[arg-type]


class WithoutLayers(BackboneSource):
    """A source that records nothing."""

    layers: ClassVar[dict[str, LayerInputs]] = {}


class Rehearsal(BundleGraphs):
    """The choice alone: every weights' graphs diverge by a given number, and a file holds the weights' name."""

    def __init__(self, folder: Path, divergences: dict[str, float], *, qat: bool) -> None:
        self.configuration = ExportConfiguration(checkpoint=Path(), output=folder, qat=qat)
        self.folder = folder
        self.scores = {}
        self.sources = NoSources()  # type: ignore[assignment]
        self.divergences = divergences
        self.names = iter(("plain", "equalised", "fine-tuned"))

    def _material(self, graphs: Any) -> Int8Material:
        nothing = np.zeros(0)
        return Int8Material(nothing, {}, SelectionSet(nothing, nothing, nothing), ("min-max",), GOAL, 1)

    def run(self) -> str:
        def quantise(source: BackboneSource, material: Int8Material) -> tuple[Contents, list[Score]]:
            name = next(self.names)
            return {"features": name.encode()}, [Score("min-max", self.divergences[name], 1.0, 0.0)]

        contents = self._int8("onnx", {}, quantise)
        assert list(contents) == ["features"]
        return contents["features"].decode()


@pytest.mark.parametrize(
    ("plain", "equalised", "tuned", "qat", "kept", "tried"),
    [
        (0.05, 0.01, 0.01, True, "plain", 1),  # good enough: nothing else is tried
        (0.3, 0.05, 0.01, True, "equalised", 2),
        (0.3, 0.5, 0.2, True, "fine-tuned", 3),
        (0.3, 0.2, 0.25, True, "equalised", 3),
        (0.3, 0.4, 0.5, True, "plain", 3),
        (0.3, 0.4, 0.01, False, "plain", 2),  # fine-tuning only where it is asked for
    ],
)
def test_closest_weights_are_kept(
    plain: float, equalised: float, tuned: float, qat: bool, kept: str, tried: int, tmp_path: Path
) -> None:
    rehearsal = Rehearsal(tmp_path, {"plain": plain, "equalised": equalised, "fine-tuned": tuned}, qat=qat)
    assert rehearsal.run() == kept
    recipes = [score.recipe for score in rehearsal.scores["onnx"]]
    assert recipes == ["min-max", "equalised, min-max", "fine-tuned, min-max"][:tried]
