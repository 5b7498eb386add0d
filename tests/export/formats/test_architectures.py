"""A whole export of every kind of architecture with small images: both formats, fp32 and int8, all roles.

The networks are shallow; that every registered architecture holds no other layers than its shallow one is tested too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from export.configuration import Tolerances
from export.pipeline import run_export
from tests.export.conftest import exported_configuration, write_run
from tests.export.networks import SHALLOW, kinds_of_layers
from train.model.architectures import ARCHITECTURES, build_model


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(SHALLOW.values())))
def test_shallow_networks_have_the_same_kinds_of_layers(architecture: str) -> None:
    real, shallow = (build_model(name, classes=7).features for name in (architecture, SHALLOW[architecture]))
    assert kinds_of_layers(shallow) == kinds_of_layers(real)
    assert len(list(shallow.modules())) < len(list(real.modules()))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(set(SHALLOW.values()) - {"shallow_resnet"}))  # that: test_export.py
def test_every_kind_of_architecture_exports(architecture: str, tmp_path: Path, data_folder: Path) -> None:
    checkpoint = write_run(tmp_path / "run", data_folder, architecture)
    configuration = replace(
        exported_configuration(checkpoint, tmp_path / "bundle"),
        precisions=("fp32", "int8"),
        int8_goal=10.0,  # no search: these random weights tell nothing about recipes
        tolerances=Tolerances(
            int8_agreement=0.6,
            accuracy_loss=0.2,
            balanced_accuracy_loss=0.2,
            recall_loss=1.0,
            int8_explain_correlation=-1,  # maps of 2x2 numbers from random weights; real ones are held to 0.95
        ),
    )
    outcome = run_export(configuration)
    assert sorted(outcome.manifest.variants) == ["onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8"]
    for entry in outcome.manifest.measured.parity:
        if entry.variant.endswith("fp32"):
            assert entry.top1_agreement == 1
            assert entry.max_probability_difference < 1e-3
        else:
            assert entry.max_probability_difference > 1e-6, "an int8 graph this exact is not int8"
    sizes = {graph.file: graph.size_bytes for graph in outcome.manifest.graphs}
    for format_name in ("onnx", "tflite"):
        assert sizes[f"features.int8.{format_name}"] < 0.4 * sizes[f"features.fp32.{format_name}"]
    assert all(
        len(result.explain_correlation) > 10 for result in outcome.measurements.results if result.role != "model"
    )
