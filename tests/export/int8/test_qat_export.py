"""``--qat``: where no recipe reaches the goal, fine-tuned weights are tried, in both formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from edge_runtime.engines import backend
from export.bundle import graphs as bundle_graphs
from export.bundle import sources
from export.configuration import Tolerances
from export.int8 import fine_tuning
from export.int8 import recipe_search as int8_choice
from export.int8.recipe_search import Score
from export.parity.check import map_correlation
from export.pipeline import run_export
from tests.export.conftest import class_image, exported_configuration, write_run
from train.model.architectures import normalise


@pytest.mark.slow
def test_tuned_weights_reach_both_formats(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_run(tmp_path / "run", data_folder, "shallow_mobilenet", demo=False)
    monkeypatch.setattr(int8_choice._Search, "layers_by_harm", lambda _: [])  # takes long, and is not the matter here
    monkeypatch.setattr(fine_tuning, "LEARNING_RATE", 1e-2)  # so far from the float weights that it can be seen
    tuned: list[Any] = []

    def fine_tune(*given: Any) -> Any:
        tuned.append(fine_tuning.fine_tune(*given))
        return tuned[-1]

    monkeypatch.setattr(sources, "fine_tune", fine_tune)
    # Weights spoilt like that would never be chosen by what they do: the plain ones score worse, and the
    # equalised ones still worse.
    divergences: Iterator[float] = iter((0.5, 0.6, 0.1, 0.1) * 2)
    monkeypatch.setattr(bundle_graphs, "best_of", lambda _: Score("", next(divergences), 0.0, 0.0))
    configuration = replace(
        exported_configuration(checkpoint, tmp_path / "bundle"),
        precisions=("fp32", "int8"),
        int8_goal=1e-9,
        qat=True,
        qat_steps=2,
        tolerances=Tolerances(
            int8_agreement=0,
            accuracy_loss=1,
            balanced_accuracy_loss=1,
            recall_loss=1,
            int8_explain_correlation=-1,
        ),
    )
    run_export(configuration)
    assert list(divergences) == []
    assert len(tuned) == 1, "once for both formats"
    for format_name, scores in json.loads((tmp_path / "bundle" / "report.json").read_text())["int8_recipes"].items():
        assert [score["recipe"] for score in scores] == [
            f"{weights}min-max, {rounding} weights"
            for weights in ("", "equalised, ", "fine-tuned, ")
            for rounding in ("nearest", "compensated")
        ], format_name
    image = class_image(1, np.random.default_rng(7))
    with torch.no_grad():
        expected = tuned[0].features(normalise(torch.from_numpy(image[None])))[0].numpy()
    for engine in ("onnx", "tflite"):
        maps = {}
        for precision in ("fp32", "int8"):
            path = tmp_path / "bundle" / f"features.{precision}.{engine}"
            run = backend(engine).load_graph(path.read_bytes(), 1, 1)
            feature_map = run({"image_nhwc": image[None]})["feature_map"][0]
            maps[precision] = feature_map if engine == "onnx" else feature_map.transpose(2, 0, 1)
        assert map_correlation(maps["fp32"], expected) < map_correlation(maps["int8"], expected) - 0.02, engine
