"""One export from beginning to end: read, split, write, quantise, check, and put the bundle in its place."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import torch

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.manifest import Manifest, Measured, Parity, verify_files, write_manifest
from edge_runtime.errors import DataError, ExportError
from export.bundle.compact import compact_bundle
from export.bundle.graphs import BundleGraphs, ExportImages
from export.bundle.manifest_entries import build_manifest, variants_of
from export.bundle.writer import new_bundle
from export.card.text import write_card
from export.configuration import ExportConfiguration
from export.formats import onnx2tf_route
from export.formats.node_counts import node_counts
from export.images import LabelledImages, choose_calibration, choose_validation, load_images
from export.int8.recipe_search import Score
from export.parity.check import GraphParity, Reference, check_bundle, parity_entry, reference_answers
from export.parity.route_comparison import compare_routes, other_route
from export.parity.tolerances import broken_tolerances
from export.report.data import build_report, parity_table, write_report
from export.report.page import write_bundle_page
from export.report.run_facts import run_facts
from export.report.run_page import write_run_report
from train.data.folder import load_records
from train.data.split import read_split
from train.metrics.classification import summary_metrics
from train.model.architectures import LesionModel
from train.model.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint

CONVERTERS = {
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "tflite": {"litert_torch": "litert-torch", "ai_edge_quantizer": "ai-edge-quantizer", "onnx": "onnx"},
}
"""By format: the modules its files are made with, and the packages they come in."""


@dataclass(frozen=True)
class ExportOutcome:
    """What an export did: the manifest as written, each format's int8 recipe scores, and seconds per step."""

    manifest: Manifest
    results: list[GraphParity]
    scores: dict[str, list[Score]]
    seconds: dict[str, float]


def run_export(configuration: ExportConfiguration) -> ExportOutcome:
    """Write the bundle ``configuration.output``. Raises :class:`DermedgeError`; then nothing has changed on disk."""
    check_configuration(configuration)
    torch.manual_seed(0)
    checkpoint = load_checkpoint(configuration.checkpoint)
    model = build_checkpoint_model(checkpoint)
    images = read_images(configuration, checkpoint)
    clock = Clock()
    with new_bundle(configuration.output) as folder:
        writer = BundleGraphs(configuration, checkpoint, model, images, folder)
        for format_name in configuration.formats:
            with clock(f"write {format_name}"):
                writer.write_format(format_name)
        (folder / "labels.txt").write_text("".join(f"{code}\n" for code in CLASS_CODES), encoding="utf-8")
        manifest, results, report = _measure(configuration, checkpoint, model, images.validation, writer, folder, clock)
        shutil.copyfile(configuration.checkpoint.parent / "split.csv", folder / "split.csv")
        if configuration.compact:
            manifest = compact_bundle(folder, manifest)
        write_bundle_page(folder, manifest, report)
        write_card(folder, manifest, report)
    return ExportOutcome(manifest, results, writer.scores, clock.seconds)


def check_configuration(configuration: ExportConfiguration) -> None:
    """Refuse what cannot work before anything is read. Raises :class:`ExportError`."""
    for flag, number in (
        ("--calibration-images", configuration.calibration_images),
        ("--hold-out-images", configuration.hold_out_images),
        ("--validation-images", configuration.validation_images),
    ):
        if number is not None and number < 2:
            raise ExportError(f"{flag}: expected at least 2, found {number}")
    if configuration.qat_steps < 1:
        raise ExportError(f"--qat-steps: expected at least 1, found {configuration.qat_steps}")
    if configuration.threads < 1:
        raise ExportError(f"--threads: expected at least 1, found {configuration.threads}")
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


def read_images(configuration: ExportConfiguration, checkpoint: Checkpoint) -> ExportImages:
    """Read the images that the run's split gives to each purpose."""
    records = load_records(find_data(configuration))
    split = read_split(configuration.checkpoint.parent / "split.csv")
    if split.hash != checkpoint.split_hash:
        path = configuration.checkpoint.parent / "split.csv"
        expected = f"the split {checkpoint.split_hash[:12]} that the checkpoint was trained with"
        raise DataError(f"{path}: expected {expected}, found {split.hash[:12]}")
    calibration, hold_out = choose_calibration(
        records, split, configuration.calibration_images, configuration.hold_out_images
    )
    validation = choose_validation(records, split, configuration.validation_images)
    size = checkpoint.input_size
    return ExportImages(
        load_images(calibration, size, "calibration images"),
        load_images(hold_out, size, "hold-out images"),
        load_images(validation, size, "validation images"),
    )


def find_data(configuration: ExportConfiguration) -> Path:
    """Return the data folder: the one asked for, else the one the run was trained on."""
    if configuration.data is not None:
        return configuration.data
    path = configuration.checkpoint.parent / "data.json"
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: expected the folder of the training data; name it with --data") from None


def _measure(
    configuration: ExportConfiguration,
    checkpoint: Checkpoint,
    model: LesionModel,
    validation: LabelledImages,
    writer: BundleGraphs,
    folder: Path,
    clock: Clock,
) -> tuple[Manifest, list[GraphParity], dict[str, Any]]:
    """Check the written bundle and write its manifest with the figures. Raises when a tolerance is broken.

    The report beside the run is written in any case: it shows what a broken tolerance did to which images.
    """
    with clock("PyTorch reference"):
        reference = reference_answers(model, checkpoint.temperature, validation, checkpoint.metadata_spec)
    name, path = configuration.output.name, configuration.checkpoint
    draft = build_manifest(name, checkpoint, path, writer.entries, _measured(checkpoint, validation, reference, []))
    write_manifest(folder, draft)
    verify_files(folder, draft)
    with clock("parity"):
        results = check_bundle(folder, validation, reference)
    entries = [parity_entry(result, reference, validation.truth) for result in results]
    broken = [
        line
        for result, entry in zip(results, entries, strict=True)
        for line in broken_tolerances(
            result, entry, reference, validation.truth, configuration.tolerances, demo=checkpoint.demo
        )
    ]
    measured = _measured(checkpoint, validation, reference, entries)
    manifest = build_manifest(name, checkpoint, path, writer.entries, measured)
    training = run_facts(checkpoint, path.parent)
    report = build_report(
        manifest, results, reference, validation, writer.scores, configuration.tolerances, broken, training
    )
    report["nodes"] = node_counts(folder, writer.entries)  # by file, those that --compact removes included
    if configuration.compare_tflite_routes and "tflite" in configuration.formats and not broken:
        with clock("other TFLite route"):
            report["tflite_routes"] = _compare_tflite_routes(writer, model, manifest, results, validation, reference)
    with clock("report"):
        write_run_report(path.parent, folder, manifest, report, results, reference, validation)
    if broken:
        print(parity_table(manifest, results))
        raise ExportError("tolerances broken, no bundle was written: " + "; ".join(broken))
    write_manifest(folder, manifest)
    write_report(folder, report)
    return manifest, results, report


def _compare_tflite_routes(
    writer: BundleGraphs,
    model: LesionModel,
    manifest: Manifest,
    results: list[GraphParity],
    validation: LabelledImages,
    reference: Reference,
) -> list[dict[str, Any]]:
    """Write the TFLite files again by the other route, into a folder that does not stay, and compare."""
    route, other = writer.configuration.tflite_via, other_route(writer.configuration.tflite_via)
    with tempfile.TemporaryDirectory() as name:
        configuration = replace(writer.configuration, tflite_via=other, formats=("tflite",))
        again = BundleGraphs(configuration, writer.checkpoint, model, writer.images, Path(name))
        again.source, again.prepared_sources = writer.source, writer.prepared_sources
        again.write_format("tflite")
        draft = msgspec.structs.replace(manifest, graphs=again.entries, variants=variants_of(again.entries))
        write_manifest(again.folder, draft)
        return compare_routes({route: writer.folder, other: again.folder}, results, validation, reference)


def _measured(
    checkpoint: Checkpoint, validation: LabelledImages, reference: Reference, parity: list[Parity]
) -> Measured:
    figures = summary_metrics(validation.truth, reference.probabilities)
    learned = checkpoint.config.get("fit_on", "train") != "train"
    return Measured(
        split="validation (also trained on)" if learned else "validation",
        images=len(validation),
        accuracy=figures["accuracy"],
        balanced_accuracy=figures["balanced_accuracy"],
        macro_f1=figures["macro_f1"],
        expected_calibration_error=figures["expected_calibration_error"],
        parity=parity,
    )
