"""One export from beginning to end: read, split, write, quantise, check, and put the bundle in its place."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from edge_runtime.classes import CLASS_CODES, CLASSES
from edge_runtime.errors import DataError, ExportError
from edge_runtime.manifest import GraphFile, Manifest, Measured, Parity, Role, verify_files, write_manifest
from edge_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export.activation_ranges import CALIBRATORS
from export.bundle_writer import new_bundle
from export.calibration_data import LabelledPictures, choose_calibration, choose_validation, load_pictures
from export.card import write_card
from export.compact import compact_bundle
from export.configuration import ExportConfiguration
from export.converter_output import capture_output
from export.gate import broken_tolerances
from export.int8_choice import HoldOut, Int8Material, Score, head_probabilities
from export.layer_inputs import LayerInputs
from export.manifest_entries import build_manifest, graph_entry
from export.parity import GraphParity, Reference, check_bundle, encode_pictures, parity_entry, reference_answers
from export.report import build_report, parity_table, write_report
from export.report_page import write_bundle_page
from export.run_facts import run_facts
from export.run_report import write_run_report
from export.split_model import Layout, RoleGraph, head_of, split_model
from train.checkpoint import Checkpoint, build_checkpoint_model, load_checkpoint
from train.metrics import summary_metrics
from train.models import LesionModel
from train.out_of_distribution import model_for_export
from train.records import load_records
from train.split import read_split

CONVERTERS = {
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "tflite": {"litert_torch": "litert-torch", "ai_edge_quantizer": "ai-edge-quantizer", "onnx": "onnx"},
}
"""By format: the modules its files are made with, and the packages they come in."""

LAYOUTS: dict[str, Layout] = {"onnx": "NCHW", "tflite": "NHWC"}


@dataclass(frozen=True)
class ExportPictures:
    """The pictures of an export by purpose."""

    calibration: LabelledPictures
    hold_out: LabelledPictures
    validation: LabelledPictures


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
    pictures = read_pictures(configuration, checkpoint)
    clock = Clock()
    with new_bundle(configuration.output) as folder:
        writer = BundleGraphs(configuration, checkpoint, model, pictures, folder)
        for format_name in configuration.formats:
            with clock(f"write {format_name}"):
                writer.write_format(format_name)
        (folder / "labels.txt").write_text("".join(f"{code}\n" for code in CLASS_CODES), encoding="utf-8")
        manifest, results, report = _measure(
            configuration, checkpoint, model, pictures.validation, writer, folder, clock
        )
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
    if configuration.threads < 1:
        raise ExportError(f"--threads: expected at least 1, found {configuration.threads}")
    for format_name in configuration.formats:
        for module, package in CONVERTERS[format_name].items():
            if find_spec(module) is None:
                advice = f"pip install -r requirements/export.txt, or leave {format_name} out with --formats"
                raise ExportError(f"{package} is not installed: {advice}")


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


class BundleGraphs:
    """The graph files of one bundle while they are written."""

    def __init__(
        self,
        configuration: ExportConfiguration,
        checkpoint: Checkpoint,
        model: LesionModel,
        pictures: ExportPictures,
        folder: Path,
    ) -> None:
        self.configuration = configuration
        self.checkpoint = checkpoint
        self.model = model_for_export(model, checkpoint)  # the same weights, and the outlier score beside the logits
        self.pictures = pictures
        self.folder = folder
        self.entries: list[GraphFile] = []
        self.scores: dict[str, list[Score]] = {}
        self._layers: dict[str, LayerInputs] | None = None

    def write_format(self, format_name: str) -> None:
        """Write all precisions of one format; fp32 always, since head and explain are that in every variant."""
        print(f"writing {format_name}", file=sys.stderr)
        graphs = split_model(
            self.model,
            LAYOUTS[format_name],
            size=self.checkpoint.input_size,
            temperature=self.checkpoint.temperature,
            metadata_size=_metadata_size(self.checkpoint),
        )
        write: Callable[[dict[Role, RoleGraph]], None] = (
            self._write_onnx if format_name == "onnx" else self._write_tflite
        )
        write(graphs)

    def _layer_inputs(self) -> dict[str, LayerInputs]:
        """What the convolutions see is measured once, on an ONNX graph, for both formats."""
        if self._layers is None:
            from export import onnx_graphs

            with tempfile.TemporaryDirectory() as folder:
                ours = split_model(self.model, "NCHW", size=self.checkpoint.input_size)
                onnx_graphs.write_fp32({"features": ours["features"]}, Path(folder), {})
                self._layers = onnx_graphs.record_layers(Path(folder), self.pictures.calibration.images)
        return self._layers

    def _write_onnx(self, graphs: dict[Role, RoleGraph]) -> None:
        from export import onnx_graphs

        properties = file_properties(self.checkpoint)
        self._add(onnx_graphs.write_fp32(graphs, self.folder, properties), graphs, "fp32")
        if "fp16" in self.configuration.precisions:
            self._add(onnx_graphs.write_fp16(graphs, self.folder, properties), graphs, "fp16")
        if "int8" in self.configuration.precisions:
            paths, self.scores["onnx"] = onnx_graphs.write_int8(graphs, self.folder, properties, self._material(graphs))
            self._add(paths, graphs, "int8")

    def _write_tflite(self, graphs: dict[Role, RoleGraph]) -> None:
        with capture_output("loading the TFLite converter"):
            from export import tflite_graphs

        written = {"fp32": tflite_graphs.write_fp32(graphs, self.folder)}
        for precision in ("fp16", "dynamic"):
            if precision in self.configuration.precisions:
                written[precision] = tflite_graphs.write_light(self.folder, precision)
        if "int8" in self.configuration.precisions:
            written["int8"], self.scores["tflite"] = tflite_graphs.write_int8(
                graphs, self.folder, self._material(graphs)
            )
        properties = file_properties(self.checkpoint)
        description = f"{properties['architecture']} for dermatoscopic pictures; {properties['warning']}"
        tflite_graphs.add_metadata(self.folder, graphs, description, self.checkpoint.licence)
        for precision, paths in written.items():
            self._add(paths, graphs, precision)

    def _material(self, graphs: dict[Role, RoleGraph]) -> Int8Material:
        chosen = self.configuration.calibrator
        return Int8Material(
            images=self.pictures.calibration.images,
            layers=self._layer_inputs(),
            hold_out=self._hold_out(graphs),
            calibrators=tuple(name for name in CALIBRATORS if chosen in ("auto", name)),
            goal=self.configuration.goal(demo=self.checkpoint.demo),
            threads=self.configuration.threads,
        )

    def _hold_out(self, graphs: dict[Role, RoleGraph]) -> HoldOut:
        pictures = self.pictures.hold_out
        metadata = encode_pictures(pictures.records, self.checkpoint.metadata_spec)
        with torch.no_grad():
            batches = np.array_split(pictures.images, max(1, len(pictures) // 16))
            maps = [graphs["features"].module(torch.from_numpy(batch))["feature_map"].numpy() for batch in batches]
        head = head_of(graphs)
        return HoldOut(
            pictures.images, pictures.truth, head_probabilities(head, np.concatenate(maps), metadata), metadata
        )

    def _add(self, paths: dict[Role, Path], graphs: dict[Role, RoleGraph], precision: str) -> None:
        self.entries += [graph_entry(path, graphs[role], precision) for role, path in paths.items()]


def read_pictures(configuration: ExportConfiguration, checkpoint: Checkpoint) -> ExportPictures:
    """Read the pictures that the run's split gives to each purpose."""
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
    return ExportPictures(
        load_pictures(calibration, size, "calibration pictures"),
        load_pictures(hold_out, size, "hold-out pictures"),
        load_pictures(validation, size, "validation pictures"),
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


def file_properties(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what every ONNX file says of itself, for readers that do not know the manifest."""
    return {
        "architecture": checkpoint.architecture,
        "class_names": json.dumps([lesion_class.name for lesion_class in CLASSES]),
        "classes": json.dumps(list(CLASS_CODES)),
        "demo": json.dumps(checkpoint.demo),
        "input": (
            f"uint8 RGB NHWC, stretched to {checkpoint.input_size}x{checkpoint.input_size} with an antialiased "
            "bilinear filter; normalisation is inside the graph"
        ),
        "licence": checkpoint.licence,
        "normalisation_mean": json.dumps(IMAGENET_MEAN),
        "normalisation_std": json.dumps(IMAGENET_STD),
        "temperature": json.dumps(checkpoint.temperature),
        "warning": "research only, not a medical device"
        + ("; demo: trained on generated phantoms" if checkpoint.demo else ""),
    }


def _measure(
    configuration: ExportConfiguration,
    checkpoint: Checkpoint,
    model: LesionModel,
    validation: LabelledPictures,
    writer: BundleGraphs,
    folder: Path,
    clock: Clock,
) -> tuple[Manifest, list[GraphParity], dict[str, Any]]:
    """Check the written bundle and write its manifest with the figures. Raises when a tolerance is broken.

    The report beside the run is written in any case: it shows what a broken tolerance did to which pictures.
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
    with clock("report"):
        write_run_report(path.parent, folder, manifest, report, results, reference, validation)
    if broken:
        print(parity_table(manifest, results))
        raise ExportError("tolerances broken, no bundle was written: " + "; ".join(broken))
    write_manifest(folder, manifest)
    write_report(folder, report)
    return manifest, results, report


def _measured(
    checkpoint: Checkpoint, validation: LabelledPictures, reference: Reference, parity: list[Parity]
) -> Measured:
    figures = summary_metrics(validation.truth, reference.probabilities)
    learnt = checkpoint.config.get("fit_on", "train") != "train"
    return Measured(
        split="validation (also trained on)" if learnt else "validation",
        images=len(validation),
        accuracy=figures["accuracy"],
        balanced_accuracy=figures["balanced_accuracy"],
        macro_f1=figures["macro_f1"],
        expected_calibration_error=figures["expected_calibration_error"],
        parity=parity,
    )


def _metadata_size(checkpoint: Checkpoint) -> int:
    from edge_runtime.patient import metadata_size

    return 0 if checkpoint.metadata_spec is None else metadata_size(checkpoint.metadata_spec)
