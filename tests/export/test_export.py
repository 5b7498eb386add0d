"""A whole export, from the run folder to the bundle that a device reads."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace

from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import ROLES, read_manifest, verify_files
from edge_runtime.classifier import Classifier
from export.bundle.graphs import CONVERTED
from export.formats import tflite_quantisation
from export.formats.node_counts import node_counts
from export.formats.onnx_writer import count_nodes, write_onnx
from export.formats.tflite_writer import convert_tflite
from export.int8.activation_ranges import choose_ranges
from export.pipeline import ExportOutcome, run_export
from export.roles.split_model import split_model
from tests.export.conftest import SIZE, RefusedExport, class_image, exported_configuration, largest_pair
from train.model.checkpoint import build_checkpoint_model, load_checkpoint

VARIANTS = ["onnx-fp16", "onnx-fp32", "onnx-int8", "tflite-dynamic", "tflite-fp16", "tflite-fp32", "tflite-int8"]
Exported = tuple[Path, ExportOutcome]


def test_bundle_is_complete_and_its_checksums_are_right(exported: Exported) -> None:
    bundle, _ = exported
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    assert sorted(manifest.variants) == VARIANTS
    assert {graph.role for graph in manifest.graphs} == set(ROLES)
    named = {graph.file for graph in manifest.graphs}
    assert {path.name for path in bundle.iterdir()} == named | {
        "manifest.json",
        "weights.safetensors",
        "labels.txt",
        "split.csv",
        "README.md",
        "report.json",
        "report.html",
    }
    assert (bundle / "labels.txt").read_text().split() == list(ham10000().codes)


def test_demo_is_labelled_as_demo_everywhere(exported: Exported) -> None:
    bundle, _ = exported
    assert read_manifest(bundle).demo
    assert "generated phantoms" in (bundle / "README.md").read_text()
    properties = {one.key: one.value for one in onnx.load(bundle / "model.fp32.onnx").metadata_props}
    assert "generated phantoms" in properties["warning"]


def test_onnx_files_say_classes_and_preprocessing(exported: Exported) -> None:
    bundle, _ = exported
    for path in bundle.glob("*.onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
        assert json.loads(properties["classes"]) == list(ham10000().codes), path.name
        assert "uint8 RGB NHWC" in properties["input"], path.name


@pytest.mark.parametrize("variant_name", VARIANTS)
def test_every_variant_has_the_declared_inputs_and_outputs(exported: Exported, variant_name: str) -> None:
    from edge_runtime.engines import backend

    bundle, _ = exported
    manifest = read_manifest(bundle)
    variant = manifest.variants[variant_name]
    for role in ROLES:
        graph = manifest.graph(getattr(variant, role))
        run = backend(graph.format).load_graph((bundle / graph.file).read_bytes(), 1, 1)
        inputs = {one.name: np.ones([abs(side) for side in one.shape], one.dtype) for one in graph.inputs}
        outputs = run(inputs)
        assert set(outputs) == {one.name for one in graph.outputs}
        for one in graph.outputs:
            assert outputs[one.name].dtype == np.dtype(one.dtype), (graph.file, one.name)
            assert list(outputs[one.name].shape) == [abs(side) for side in one.shape], (graph.file, one.name)


def test_onnx_graphs_take_any_batch(exported: Exported) -> None:
    bundle, _ = exported
    generator = np.random.default_rng(1)
    images = np.stack([class_image(label, generator) for label in (0, 3, 6)])
    for precision in ("fp32", "fp16", "int8"):
        session = onnxruntime.InferenceSession(bundle / f"model.{precision}.onnx")
        together = session.run(None, {"image_nhwc": images})[0]
        apart = np.concatenate([session.run(None, {"image_nhwc": image[None]})[0] for image in images])
        np.testing.assert_allclose(together, apart, atol=1e-6)


@pytest.mark.slow
def test_onnx_graphs_can_be_written_for_one_image(checkpoint: Path, tmp_path: Path) -> None:
    model = build_checkpoint_model(load_checkpoint(checkpoint))
    graphs = split_model(model, "NCHW", size=SIZE)
    for role in CONVERTED:
        path = write_onnx(graphs[role], tmp_path / f"{role}.onnx", {}, fixed_batch=True)
        shapes = [value.shape for value in onnxruntime.InferenceSession(path).get_inputs()]
        assert all(shape[0] == 1 and all(isinstance(side, int) for side in shape) for shape in shapes), role


def test_parity_of_fp32_is_exact_and_of_int8_within_tolerance(exported: Exported) -> None:
    _, outcome = exported
    parity = outcome.manifest.measured.parity
    assert len(parity) == 2 * len(VARIANTS)
    for entry in parity:
        if entry.variant.endswith("fp16"):
            assert entry.top1_agreement == 1
            assert 1e-7 < entry.max_probability_difference < 2e-2
        elif entry.variant.endswith("fp32"):
            assert entry.top1_agreement == 1
            assert entry.max_probability_difference < 1e-3
        else:
            assert entry.max_probability_difference > 1e-6, "an int8 graph this exact is not int8"
            assert entry.top1_agreement >= 0.9
        assert entry.latency_ms > 0
        assert entry.size_bytes > 0


def test_int8_files_are_a_quarter_of_fp32(exported: Exported) -> None:
    bundle, _ = exported
    for format_name in ("onnx", "tflite"):
        full = (bundle / f"features.fp32.{format_name}").stat().st_size
        assert (bundle / f"features.int8.{format_name}").stat().st_size < 0.27 * full


def test_explain_equals_autograd_in_fp32_and_follows_it_in_int8(exported: Exported) -> None:
    _, outcome = exported
    for result in outcome.measurements.results:
        if result.role == "model":
            continue
        assert len(result.explain_correlation) > 10
        least = 0.999 if result.variant.endswith(("fp32", "fp16")) else 0.95
        assert np.mean(result.explain_correlation) >= least, result.variant


def test_temperature_is_inside_the_graphs(exported: Exported, checkpoint: Path) -> None:
    import torch

    from train.model.architectures import normalise
    from train.model.checkpoint import build_checkpoint_model, load_checkpoint

    bundle, _ = exported
    image = class_image(2, np.random.default_rng(5))
    with torch.no_grad():
        logits = build_checkpoint_model(load_checkpoint(checkpoint))(normalise(torch.from_numpy(image[None])))[0]
    expected = torch.softmax(logits / 1.5, 0).numpy()
    for engine in ("onnx", "tflite"):
        with Classifier.load(bundle, engine=engine, precision="fp32") as classifier:
            found = list(classifier.predict(image).probabilities.values())
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_input_size_of_the_checkpoint_is_the_bundles(exported: Exported) -> None:
    assert exported[1].manifest.input.size == SIZE


def test_no_int8_weights_can_saturate_any_cpu(exported: Exported) -> None:
    bundle, _ = exported
    for role in ("features", "model"):
        model = onnx.load(bundle / f"{role}.int8.onnx")
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        producers = {node.output[0]: node for node in model.graph.node}
        checked = 0
        for node in model.graph.node:
            if node.op_type == "Conv":
                levels = constants[producers[node.input[1]].input[0]]
                assert levels.dtype == np.int8
                assert 255 * largest_pair(levels) < 2**15
                assert np.abs(levels.astype(int)).max() == 64, "all of seven bits are used"
                checked += 1
        assert checked == 14


def test_graphs_hold_nothing_to_remove(exported: Exported) -> None:
    bundle, _ = exported
    counts = count_nodes(onnx.load(bundle / "features.fp32.onnx"))
    assert counts == {"Conv": 14, "Relu": 11, "Add": 5, "Cast": 1, "MaxPool": 1, "Sub": 1, "Transpose": 1}
    quantised = count_nodes(onnx.load(bundle / "features.int8.onnx"))
    assert "BatchNormalization" not in quantised
    assert "Relu" not in quantised, "a ReLU is the zero point of what follows"
    assert count_nodes(onnx.load(bundle / "explain.fp32.onnx")) == {
        "MatMul": 1, "Mul": 1, "ReduceSum": 1, "Relu": 1, "Unsqueeze": 1,
    }  # fmt: skip
    reported = json.loads((bundle / "report.json").read_text())["nodes"]
    assert reported["features.fp32.onnx"] == counts
    assert reported["features.fp32.tflite"] == {
        "CONV_2D": 14, "ADD": 5, "PAD": 5, "CAST": 1, "MAX_POOL_2D": 1, "SUB": 1,
    }  # fmt: skip
    assert set(reported) == {graph.file for graph in read_manifest(bundle).graphs}
    for path in bundle.glob("*.onnx"):
        model = onnx.load(path, load_external_data=False)
        assert not any(tensor.external_data for tensor in model.graph.initializer), path.name
        used = {value for node in model.graph.node for value in node.input}
        assert {tensor.name for tensor in model.graph.initializer} <= used, path.name
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node), path.name


def test_tflite_inputs_and_outputs_are_what_browsers_accept(exported: Exported) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle, _ = exported
    for path in bundle.glob("*.tflite"):
        runner = Interpreter(model_path=str(path)).get_signature_runner()
        details = [*runner.get_input_details().values(), *runner.get_output_details().values()]
        assert {detail["dtype"] for detail in details} <= {np.uint8, np.float32}, path.name


def test_tflite_files_carry_their_labels(exported: Exported) -> None:
    bundle, _ = exported
    for path in bundle.glob("model.*.tflite"):
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode().split() == list(ham10000().codes)
        assert b"M001" in path.read_bytes()


def test_report_holds_recipes_and_per_class_changes(exported: Exported) -> None:
    bundle, outcome = exported
    report = json.loads((bundle / "report.json").read_text())
    assert {name: len(scores) for name, scores in report["int8_recipes"].items()} == {"onnx": 1, "tflite": 1}
    assert len(report["chains"]) == len(outcome.measurements.results)
    for chain in report["chains"]:
        assert list(chain["classes"]) == list(ham10000().codes)
        assert len(chain["most_changed"]) == 10


@pytest.mark.slow
@pytest.mark.usefixtures("converted_anew")
def test_same_checkpoint_gives_the_same_bytes(exported: Exported, checkpoint: Path, tmp_path: Path) -> None:
    bundle, _ = exported
    again = exported_configuration(checkpoint, tmp_path / "again")
    again = replace(again, formats=("onnx",), precisions=("fp32", "int8", "fp16"))
    run_export(again)
    files = sorted(path.name for path in (tmp_path / "again").glob("*.onnx"))
    assert len(files) == 8
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name
    graphs = split_model(build_checkpoint_model(load_checkpoint(checkpoint)), "NHWC", size=SIZE, temperature=1.5)
    assert convert_tflite(graphs["head"]) == convert_tflite(graphs["head"])


def test_no_graph_transposes_a_feature_map(exported: Exported) -> None:
    """TFLite is channels last from the image to the pooling; ONNX transposes the image, once."""
    counts = node_counts(exported[0], read_manifest(exported[0]).graphs)
    for file, operators in counts.items():
        if file.endswith(".tflite"):
            assert "TRANSPOSE" not in operators, file
        else:
            assert operators.get("Transpose", 0) == file.startswith(("features", "model")), file


def test_tflite_quantisers_give_the_same_bytes(exported: Exported) -> None:
    graph = (exported[0] / "features.fp32.tflite").read_bytes()
    images = [class_image(label, np.random.default_rng(label)) for label in range(3)]
    made = []
    for _ in range(2):
        ranges = choose_ranges(tflite_quantisation.record_statistics(graph, images, 1), "min-max")
        made.append(
            (
                tflite_quantisation.quantise_int8(graph, ranges),
                tflite_quantisation.to_fp16(graph),
                tflite_quantisation.quantise_dynamic(graph),
            )
        )
    assert made[0] == made[1]


def test_broken_tolerance_keeps_the_old_bundle(refused: RefusedExport) -> None:
    assert re.match(r"tolerances broken, no bundle was written: onnx-fp32 .*probability differs", refused.message)
    assert (refused.output / "manifest.json").read_text() == "the old one"
    assert [path.name for path in refused.output.parent.iterdir()] == ["one"]
