"""One export from beginning to end: read, split, write, quantise, check, and put the bundle in its place."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import torch

from edge_runtime.bundle.manifest import Manifest, read_manifest, verify_files, write_manifest
from edge_runtime.errors import ExportError
from export.bundle.code_version import refuse_uncommitted
from export.bundle.compact import compact_bundle
from export.bundle.graphs import BundleGraphs
from export.bundle.manifest_entries import build_manifest, with_graphs, with_parity, with_weights
from export.bundle.sources import BackboneSources
from export.bundle.writer import new_bundle
from export.card.text import write_card
from export.configuration import ExportConfiguration
from export.formats import onnx2tf_route
from export.formats.node_counts import node_counts
from export.inputs import ExportInputs, read_inputs
from export.parity.check import Reference, check_bundle, parity_entry, reference_predictions
from export.parity.measurements import Measurements, measured_section
from export.parity.route_comparison import RouteBundle, compare_routes, other_route
from export.parity.tolerances import Gate
from export.report.data import build_report, parity_table, write_report
from export.report.page import write_bundle_page
from export.report.run_facts import TRAINING_FACTS, run_facts
from export.report.run_page import write_run_report
from train.model.bundle_weights import WEIGHTS_NAME, write_weights

CONVERTERS = {
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "tflite": {"litert_torch": "litert-torch", "ai_edge_quantizer": "ai-edge-quantizer", "onnx": "onnx"},
}
"""By format: the modules its files are made with, and the packages they come in."""


@dataclass(frozen=True)
class ExportOutcome:
    """What an export did: the manifest as written, what was measured, and seconds per step."""

    manifest: Manifest
    measurements: Measurements
    seconds: dict[str, float]


def run_export(configuration: ExportConfiguration) -> ExportOutcome:
    """Write the bundle ``configuration.output``. Raises :class:`DermedgeError`; then nothing has changed on disk.

    The report beside the run is written in any case: it shows what a broken tolerance did to which images.
    """
    check_configuration(configuration)
    torch.manual_seed(0)
    inputs = read_inputs(configuration)
    clock = Clock()
    with new_bundle(configuration.output) as folder:
        graphs = write_graphs(configuration, inputs, folder, clock)
        with clock("PyTorch reference"):
            reference = reference_predictions(inputs)
        manifest = build_manifest(
            configuration.output.name, inputs, graphs.entries, measured_section(inputs, reference)
        )
        measurements = measure(graphs, manifest, reference, clock)
        manifest = with_parity(manifest, measurements.parity)
        report = build_report(
            manifest, measurements, configuration.tolerances, run_facts(inputs.checkpoint, inputs.folder)
        )
        if not inputs.from_bundle:  # images of patients must not come into a bundle
            with clock("report"):
                write_run_report(inputs.folder, folder, manifest, report, measurements)
        if measurements.broken:
            print(parity_table(manifest, measurements))
            raise ExportError("tolerances broken, no bundle was written: " + "; ".join(measurements.broken))
        if configuration.compact:
            manifest = compact_bundle(folder, manifest)
        training = {**inputs.checkpoint.extra, TRAINING_FACTS: report["training"]}
        checkpoint = replace(inputs.checkpoint, extra=training)
        manifest = with_weights(manifest, write_weights(checkpoint, folder / WEIGHTS_NAME))
        write_documents(folder, inputs, manifest, report)
        write_manifest(folder, manifest)
        verify_files(folder, read_manifest(folder))
    return ExportOutcome(manifest, measurements, clock.seconds)


def check_configuration(configuration: ExportConfiguration) -> None:
    """Refuse what cannot work before anything is read. Raises :class:`ExportError`."""
    if (configuration.checkpoint is None) == (configuration.bundle is None):
        found = "neither" if configuration.bundle is None else "both"
        raise ExportError(f"expected either --checkpoint or --bundle, found {found}")
    if configuration.bundle is not None and configuration.data is None:
        raise ExportError("--bundle: a bundle does not say where its images are: expected --data, found none")
    if configuration.publish:
        refuse_uncommitted()
    if configuration.compact and "int8" not in configuration.precisions:
        raise ExportError("--compact keeps the int8 variants: expected int8 among --precisions")
    if "dynamic" in configuration.precisions and "tflite" not in configuration.formats:
        # onnxruntime computes dynamically quantised convolutions many times slower than float ones
        raise ExportError("--precisions dynamic is for TFLite alone: expected tflite among --formats")
    for format_name in configuration.formats:
        for module, package in CONVERTERS[format_name].items():
            if find_spec(module) is None:
                advice = f"pip install -r requirements/export.txt, or leave {format_name} out with --formats"
                raise ExportError(f"{package} is not installed: {advice}")
    wants_onnx2tf = configuration.tflite_via == "onnx2tf" or configuration.compare_tflite_routes
    if wants_onnx2tf and "tflite" in configuration.formats:
        onnx2tf_route.check_environment()


class Clock:
    """Seconds spent in named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str) -> Clock:
        self._step = step
        return self

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._step] = perf_counter() - self._started


def write_graphs(configuration: ExportConfiguration, inputs: ExportInputs, folder: Path, clock: Clock) -> BundleGraphs:
    """Write the graphs of all formats and precisions into ``folder``."""
    graphs = BundleGraphs(configuration, inputs, BackboneSources(inputs, configuration.qat_steps), folder)
    for format_name in configuration.formats:
        with clock(f"write {format_name}"):
            graphs.write_format(format_name)
    return graphs


def measure(graphs: BundleGraphs, manifest: Manifest, reference: Reference, clock: Clock) -> Measurements:
    """Check the written graphs, which ``manifest`` describes, against the PyTorch model on the validation images."""
    configuration, images = graphs.configuration, graphs.inputs.validation
    verify_files(graphs.folder, manifest)
    with clock("parity"):
        results = check_bundle(graphs.folder, manifest, images, reference)
    parity = [parity_entry(result, reference, images.truth) for result in results]
    gate = Gate(configuration.tolerances, reference, images.truth, manifest.demo)
    measurements = Measurements(
        images=images,
        reference=reference,
        results=tuple(results),
        parity=tuple(parity),
        broken=tuple(line for pair in zip(results, parity, strict=True) for line in gate.broken(*pair)),
        int8_scores=graphs.scores,
        node_counts=node_counts(graphs.folder, graphs.entries),  # of all files, those that --compact removes included
    )
    if configuration.compare_tflite_routes and "tflite" in configuration.formats and not measurements.broken:
        with clock("other TFLite route"):
            return replace(measurements, tflite_routes=_compare_tflite_routes(graphs, manifest, measurements))
    return measurements


def write_documents(folder: Path, inputs: ExportInputs, manifest: Manifest, report: dict[str, Any]) -> None:
    """Write what a bundle holds beside its graphs and manifest: labels, split, report and model card."""
    (folder / "labels.txt").write_text("".join(f"{code}\n" for code in manifest.class_set.codes), encoding="utf-8")
    shutil.copyfile(inputs.folder / "split.csv", folder / "split.csv")
    write_report(folder, report)
    write_bundle_page(folder, manifest, report)
    write_card(folder, manifest, report)


def _compare_tflite_routes(
    graphs: BundleGraphs, manifest: Manifest, measurements: Measurements
) -> tuple[dict[str, Any], ...]:
    """Write the TFLite files again by the other route, into a folder that does not stay, and compare."""
    route, other = graphs.configuration.tflite_via, other_route(graphs.configuration.tflite_via)
    images, reference = measurements.images, measurements.reference
    configuration = msgspec.structs.replace(graphs.configuration, tflite_via=other)
    with tempfile.TemporaryDirectory() as name:
        again = BundleGraphs(configuration, graphs.inputs, graphs.sources, Path(name))
        again.write_format("tflite")
        described = with_graphs(manifest, again.entries)
        results = check_bundle(again.folder, described, images, reference)
        return compare_routes(
            RouteBundle(route, graphs.folder, manifest, measurements.results),
            RouteBundle(other, again.folder, described, results),
            images,
            reference,
        )
