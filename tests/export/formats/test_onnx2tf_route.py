"""The route through onnx2tf, for real: ``make test`` builds its environment (``make setup-onnx2tf``)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from edge_runtime.bundle.manifest import Role, read_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.engines import backend
from edge_runtime.errors import ExportError
from export.bundle.graphs import CONVERTED
from export.configuration import TFLITE_ROUTES, Tolerances
from export.formats import onnx2tf_route, tflite_quantisation
from export.formats.onnx2tf_route import INTERPRETER, convert_roles
from export.pipeline import ExportOutcome, run_export
from export.roles.split_model import RoleGraph, split_model, with_channels_first_image
from tests.export.conftest import SIZE, class_image, exported_configuration
from tests.export.shared_conversions import own_conversions
from train.model.architectures import build_model, normalise
from train.model.checkpoint import build_checkpoint_model, load_checkpoint

pytestmark = pytest.mark.slow
needs_onnx2tf = pytest.mark.skipif(not INTERPRETER.is_file(), reason="onnx2tf is not there: make setup-onnx2tf")
Exported = tuple[Path, ExportOutcome]

LOOSE = Tolerances(
    int8_agreement=0.8,
    accuracy_loss=0.1,
    balanced_accuracy_loss=0.1,
    recall_loss=0.5,
    int8_explain_correlation=0.8,
)
"""For int8 of random weights, whose maps are two by two; fp32 is held to what it always is."""


@pytest.fixture(scope="module")
def by_onnx2tf() -> dict[Role, bytes]:
    """What onnx2tf converted for the bundle, filled in by its export."""
    return {}


@pytest.fixture(scope="module")
def converted(
    tmp_path_factory: pytest.TempPathFactory, mobilenet_checkpoint: Path, by_onnx2tf: dict[Role, bytes]
) -> Exported:
    """A bundle of TFLite files made through onnx2tf, compared with litert-torch's."""
    output = tmp_path_factory.mktemp("models") / "onnx2tf"

    def recorded(graphs: dict[Role, RoleGraph], images: np.ndarray) -> dict[Role, bytes]:
        by_onnx2tf.update(convert_roles(graphs, images))
        return dict(by_onnx2tf)

    configuration = replace(
        exported_configuration(mobilenet_checkpoint, output),
        formats=("tflite",),
        tflite_via="onnx2tf",
        compare_tflite_routes=True,
        tolerances=LOOSE,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx2tf_route, "convert_roles", recorded)
        return output, run_export(configuration)


@pytest.fixture(scope="module")
def resnet() -> dict[Role, RoleGraph]:
    """The roles of a ResNet, as onnx2tf takes them but for the image."""
    torch.manual_seed(0)
    return split_model(build_model("shallow_resnet", classes=7).eval(), "NCHW", size=SIZE, explicit_padding=True)


@pytest.fixture(scope="module")
def converted_again(mobilenet_checkpoint: Path, resnet: dict[Role, RoleGraph]) -> dict[Role, bytes]:
    """The bundle's roles once more, and in the place of ``model``, which comes last, the features of a ResNet: all by
    one child process, since TensorFlow takes long to start."""
    model = build_checkpoint_model(load_checkpoint(mobilenet_checkpoint))
    graphs = with_channels_first_image(split_model(model, "NCHW", size=SIZE, temperature=1.5, explicit_padding=True))
    chosen = {**graphs, "model": with_channels_first_image(resnet)["features"]}
    with own_conversions():
        return convert_roles(chosen, np.zeros((1, SIZE, SIZE, 3), np.uint8))


@needs_onnx2tf
def test_device_reads_every_variant(converted: Exported, mobilenet_checkpoint: Path) -> None:
    bundle, outcome = converted
    assert sorted(outcome.manifest.variants) == ["tflite-dynamic", "tflite-fp16", "tflite-fp32", "tflite-int8"]
    image = class_image(2, np.random.default_rng(5))
    with torch.no_grad():
        logits = build_checkpoint_model(load_checkpoint(mobilenet_checkpoint))(normalise(torch.from_numpy(image[None])))
    expected = torch.softmax(logits[0] / 1.5, 0).numpy()
    for precision, tolerance in (("fp32", 1e-4), ("fp16", 2e-2), ("dynamic", 0.5), ("int8", 0.5)):
        with Classifier.load(bundle, engine="tflite", precision=precision) as classifier:
            prediction = classifier.predict(image, explain_class="bkl")
        found = list(prediction.probabilities.values())
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=precision)
        assert prediction.class_activation_map is not None
        assert prediction.class_activation_map.shape == (SIZE // 32, SIZE // 32)


@needs_onnx2tf
def test_fp32_is_exact(converted: Exported) -> None:
    for entry in converted[1].manifest.measured.parity:
        if entry.variant == "tflite-fp32":
            assert entry.top1_agreement == 1
            assert entry.max_probability_difference < 1e-4


@needs_onnx2tf
def test_graphs_hold_nothing_to_remove(converted: Exported) -> None:
    bundle, _ = converted
    for role in ("features", "head", "explain", "model"):
        counts = Counter(name for _, name in tflite_quantisation.operator_scopes(_read(bundle, f"{role}.fp32.tflite")))
        assert "TRANSPOSE" not in counts, role
    features = Counter(name for _, name in tflite_quantisation.operator_scopes(_read(bundle, "features.fp32.tflite")))
    assert (features["CONV_2D"], features["DEPTHWISE_CONV_2D"], features["HARD_SWISH"]) == (22, 6, 8)
    assert features["RELU"] == 0, "a ReLU is part of what comes before it"


@needs_onnx2tf
def test_feature_map_behind_a_last_sum_is_channels_last(
    resnet: dict[Role, RoleGraph], converted_again: dict[Role, bytes]
) -> None:
    """A ResNet ends in a sum and a ReLU, which onnx2tf alone would leave channels first."""
    image = class_image(0, np.random.default_rng(0))[None]
    content = converted_again["model"]
    assert "TRANSPOSE" not in {name for _, name in tflite_quantisation.operator_scopes(content)}
    found = backend("tflite").load_graph(content, 1, 1)({"image_nhwc": image})["feature_map"]
    with torch.no_grad():
        expected = resnet["features"].module(torch.from_numpy(image))["feature_map"].permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


@needs_onnx2tf
def test_report_compares_both_routes(converted: Exported) -> None:
    bundle, _ = converted
    entries = json.loads((bundle / "report.json").read_text())["tflite_routes"]
    assert len(entries) == 8
    for entry in entries:
        assert list(entry["routes"]) == ["onnx2tf", "litert-torch"]
        assert all(metrics["latency_ms"] > 0 for metrics in entry["routes"].values())
        sizes = [metrics["size_bytes"] for metrics in entry["routes"].values()]
        assert max(sizes) < 1.1 * min(sizes)
        assert entry["agreement_of_routes"] >= 0.9
        if entry["variant"] == "tflite-fp32":
            assert entry["max_probability_difference_of_routes"] < 1e-4
    assert sorted(path.name for path in bundle.glob("*.tflite")) == sorted(
        graph.file for graph in read_manifest(bundle).graphs
    )


@needs_onnx2tf
@pytest.mark.usefixtures("converted")
def test_same_checkpoint_gives_the_same_bytes(
    by_onnx2tf: dict[Role, bytes], converted_again: dict[Role, bytes]
) -> None:
    assert set(by_onnx2tf) == set(CONVERTED)
    for role in CONVERTED:
        assert converted_again[role] == by_onnx2tf[role], role


def test_missing_environment_is_one_line(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx2tf_route, "INTERPRETER", tmp_path / "python")
    configuration = replace(exported_configuration(checkpoint, tmp_path / "one"), tflite_via="onnx2tf")
    with pytest.raises(ExportError, match=r"^onnx2tf is not installed: make setup-onnx2tf, or use --tflite-via"):
        run_export(configuration)
    assert TFLITE_ROUTES == ("litert-torch", "onnx2tf")


@needs_onnx2tf
def test_child_has_no_network(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import onnx2tf_child, socket; onnx2tf_child.cut_off_the_network(); socket.create_connection(('127.0.0.1', 9))"
    )
    folder = Path(onnx2tf_route.__file__).parent
    result = subprocess.run([INTERPRETER, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("OSError: an export never uses the network")


def _read(bundle: Path, name: str) -> bytes:
    return (bundle / name).read_bytes()
