"""The gate: every graph of a written bundle against the PyTorch model, read with the reader that devices use.

Only :mod:`edge_runtime` opens the files here, checksums included, so what passes is what a device will run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.manifest import Manifest, Parity, PatientMetadataSpec, read_manifest, read_verified
from edge_runtime.bundle.patient import PatientMetadata, encode_patient
from edge_runtime.classifier import Classifier, calibrated_probabilities
from edge_runtime.engines import backend
from export.images import LabelledImages
from export.roles.split_model import grad_cam
from train.data.dataset import encode_records
from train.data.records import LesionRecord
from train.evaluation.subject import patient_of
from train.metrics.classification import balanced_accuracy
from train.model.architectures import LesionModel, normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engines import RunGraph

CHAIN = "features+head"
MODEL = "model"
EXPLAINED_IMAGES = 60
LATENCY_ROUNDS = 30


@dataclass(frozen=True)
class Reference:
    """The PyTorch model's answers: probabilities float64 [N,7] after temperature, and for the first images the
    Grad-CAM map float32 [K,h,w] of the answered class by automatic differentiation."""

    probabilities: NDArray[np.float64]
    maps: NDArray[np.float32]


@dataclass(frozen=True)
class GraphParity:
    """One chain of graphs (``features+head`` or ``model``) of one variant; probabilities float64 [N,7]."""

    variant: str
    role: str
    probabilities: NDArray[np.float64]
    explain_correlation: tuple[float, ...]
    size_bytes: int
    latency_ms: float


def reference_answers(model: LesionModel, temperature: float, images: LabelledImages, manifest: Any) -> Reference:
    """Run the model as it was trained: nothing folded, normalised outside, in fp32."""
    metadata = encode_images(images.records, manifest)
    probabilities, maps = [], []
    for start in tqdm(range(0, len(images), 32), desc="PyTorch reference", disable=not sys.stderr.isatty()):
        batch = torch.from_numpy(images.images[start : start + 32])
        patients = None if metadata is None else torch.from_numpy(metadata[start : start + 32])
        with torch.no_grad():
            feature_map = model.features(normalise(batch))
            logits = model.head(feature_map, patients)
        probabilities.append(calibrated_probabilities(logits.numpy() / temperature))
        if start < EXPLAINED_IMAGES:
            answered = torch.eye(len(CLASS_CODES))[logits.argmax(1)]
            maps.append(grad_cam(model.head, feature_map, answered, patients).detach().numpy())
    return Reference(np.concatenate(probabilities), np.concatenate(maps)[:EXPLAINED_IMAGES])


def check_bundle(bundle: Path, images: LabelledImages, reference: Reference) -> list[GraphParity]:
    """Run every variant of a bundle on the images, as chain and as one graph."""
    manifest = read_manifest(bundle)
    results: list[GraphParity] = []
    for variant in manifest.variants:
        engine, precision = variant.split("-", 1)
        with Classifier.load(bundle, engine=engine, precision=precision) as classifier:
            results.append(_check_chain(classifier, variant, images, reference))
        results.append(_check_model(bundle, manifest, variant, images))
    return _with_latencies(bundle, manifest, results, images.images[0])


def parity_entry(result: GraphParity, reference: Reference, truth: NDArray[np.int64]) -> Parity:
    """Return a result's entry in the manifest."""
    answers, expected = result.probabilities.argmax(1), reference.probabilities.argmax(1)
    return Parity(
        variant=result.variant,
        role=result.role,
        images=len(truth),
        top1_agreement=float((answers == expected).mean()),
        max_probability_difference=float(np.abs(result.probabilities - reference.probabilities).max()),
        accuracy_change=float((answers == truth).mean() - (expected == truth).mean()),
        balanced_accuracy_change=balanced_accuracy(truth, answers) - balanced_accuracy(truth, expected),
        size_bytes=result.size_bytes,
        latency_ms=result.latency_ms,
    )


def encode_images(
    records: tuple[LesionRecord, ...], specification: PatientMetadataSpec | None
) -> NDArray[np.float32] | None:
    """Return the patients' vectors float32 [N,M], or ``None`` for a model without patient metadata."""
    return None if specification is None else encode_records(records, specification)


def map_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return Pearson's correlation of two maps; two constant maps agree (1), one constant map does not (0)."""
    first, second = one.reshape(-1).astype(np.float64), other.reshape(-1).astype(np.float64)
    if first.std() == 0 or second.std() == 0:
        return float(first.std() == second.std())
    return float(np.corrcoef(first, second)[0, 1])


def _check_chain(classifier: Classifier, variant: str, images: LabelledImages, reference: Reference) -> GraphParity:
    probabilities, correlations = [], []
    specification = classifier.manifest.patient_metadata
    rows = zip(images.images, images.records, strict=True)
    for index, (image, record) in enumerate(_progress(rows, f"{variant} {CHAIN}", len(images))):
        explained = index < len(reference.maps)
        prediction = classifier.predict(
            image,
            explain_class=CLASS_CODES[int(reference.probabilities[index].argmax())] if explained else None,
            patient=None if specification is None else patient_of(record, specification),
        )
        probabilities.append(list(prediction.probabilities.values()))
        if explained:
            assert prediction.class_activation_map is not None
            correlations.append(map_correlation(prediction.class_activation_map, reference.maps[index]))
    files = classifier.manifest.variants[variant]
    size = sum(classifier.manifest.graph(file).size_bytes for file in (files.features, files.head))
    return GraphParity(variant, CHAIN, np.array(probabilities), tuple(correlations), size, 0.0)


def _check_model(bundle: Path, manifest: Manifest, variant: str, images: LabelledImages) -> GraphParity:
    graph = manifest.graph(_model_file(manifest, variant))
    run = backend(graph.format).load_graph(read_verified(bundle, graph), 1, 1)
    metadata = encode_images(images.records, manifest.patient_metadata)
    probabilities = []
    for index, image in enumerate(_progress(images.images, f"{variant} {MODEL}", len(images))):
        probabilities.append(run(_inputs(image, metadata, index))["probabilities"][0].astype(np.float64))
    return GraphParity(variant, MODEL, np.array(probabilities), (), graph.size_bytes, 0.0)


def _with_latencies(
    bundle: Path, manifest: Manifest, results: list[GraphParity], image: NDArray[np.uint8]
) -> list[GraphParity]:
    """Measure one thread, one image at a time, in turns, so that a busy moment strikes all graphs alike."""
    latencies = median_latencies([graph_runner(bundle, manifest, result) for result in results], image)
    return [
        GraphParity(
            result.variant,
            result.role,
            result.probabilities,
            result.explain_correlation,
            result.size_bytes,
            latency,
        )
        for result, latency in zip(results, latencies, strict=True)
    ]


def median_latencies(runners: list[Any], image: NDArray[np.uint8]) -> list[float]:
    """Return milliseconds per run of one image [S,S,3], the runners taken in turns."""
    timings: list[list[float]] = [[] for _ in runners]
    for _ in range(LATENCY_ROUNDS):
        for run, times in zip(runners, timings, strict=True):
            started = perf_counter()
            run(image)
            times.append(1e3 * (perf_counter() - started))
    return [median(times[LATENCY_ROUNDS // 5 :]) for times in timings]  # the first ones warm up


def graph_runner(bundle: Path, manifest: Manifest, result: GraphParity) -> Any:
    """Return a function from an image [S,S,3] to the answer of one graph chain, on one thread."""
    files = manifest.variants[result.variant]
    metadata = None
    if manifest.patient_metadata is not None:
        metadata = encode_patient(PatientMetadata(), manifest.patient_metadata)[np.newaxis]

    def load(file: str) -> RunGraph:
        graph = manifest.graph(file)
        return backend(graph.format).load_graph(read_verified(bundle, graph), 1, 1)

    if result.role == MODEL:
        model = load(_model_file(manifest, result.variant))
        return lambda image: model(_inputs(image, metadata, 0))
    features, head = load(files.features), load(files.head)
    extra = {} if metadata is None else {"metadata": metadata}
    return lambda image: head({**features({"image_nhwc": image[np.newaxis]}), **extra})


def _model_file(manifest: Manifest, variant: str) -> str:
    file = manifest.variants[variant].model
    assert file is not None, "an export always writes the whole network too"
    return file


def _inputs(
    image: NDArray[np.uint8], metadata: NDArray[np.float32] | None, index: int
) -> dict[str, NDArray[np.generic]]:
    inputs: dict[str, NDArray[np.generic]] = {"image_nhwc": image[np.newaxis]}
    if metadata is not None:
        inputs["metadata"] = metadata[index : index + 1]
    return inputs


def _progress(items: Any, description: str, total: int) -> Any:
    return tqdm(items, desc=description, total=total, disable=not sys.stderr.isatty())
