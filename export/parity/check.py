"""The gate: every graph of a written bundle against the PyTorch model, read with the code that devices use.

Only :mod:`edge_runtime` opens the files here, checksums included, so what passes is what a device will run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.bundle.manifest import Manifest, Parity, read_verified
from edge_runtime.classifier import Classifier, calibrated_probabilities
from edge_runtime.engines import backend
from edge_runtime.machine import available_cpus
from export.inputs import ExportInputs
from export.parity.latency import graph_inputs, graph_runner, median_latencies, model_file
from train.data.records import patient_of
from train.metrics.classification import balanced_accuracy
from train.model.architectures import normalise
from train.model.gradcam import feature_grad_cam

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.images import LabelledImages

CHAIN = "features+head"
MODEL = "model"
EXPLAINED_IMAGES = 60


@dataclass(frozen=True)
class Reference:
    """What the PyTorch model predicts for the validation images.

    ``probabilities`` float64 [N,C] after temperature scaling; ``maps`` float32 [K,h,w]: for the first K images,
    Grad-CAM of the predicted class by automatic differentiation (:mod:`train.model.gradcam`).
    """

    classes: ClassSet
    probabilities: NDArray[np.float64]
    maps: NDArray[np.float32]


@dataclass(frozen=True)
class GraphParity:
    """What one chain of graphs (``features+head`` or ``model``) of one variant predicts; probabilities float64 [N,C].

    ``explain_correlation`` is Pearson's correlation of each of the first images' maps with the reference's;
    ``latency_ms`` is the median for one image on one thread.
    """

    variant: str
    role: str
    probabilities: NDArray[np.float64]
    explain_correlation: tuple[float, ...]
    size_bytes: int
    latency_ms: float = 0.0


def reference_predictions(inputs: ExportInputs) -> Reference:
    """Run the model on the validation images as it was trained: nothing folded, normalised outside, in fp32."""
    model, images = inputs.model, inputs.validation
    metadata = images.patient_vectors(inputs.checkpoint.metadata_spec)
    probabilities, maps = [], []
    for start in tqdm(range(0, len(images), 32), desc="PyTorch reference", disable=not sys.stderr.isatty()):
        batch = torch.from_numpy(images.images[start : start + 32])
        patients = None if metadata is None else torch.from_numpy(metadata[start : start + 32])
        with torch.no_grad():
            feature_map = model.features(normalise(batch))
            logits = model.head(feature_map, patients)
        probabilities.append(calibrated_probabilities(logits.numpy() / inputs.checkpoint.temperature))
        if start < EXPLAINED_IMAGES:
            maps.append(feature_grad_cam(model, feature_map, logits.argmax(1), patients).numpy())
    return Reference(inputs.checkpoint.classes, np.concatenate(probabilities), np.concatenate(maps)[:EXPLAINED_IMAGES])


def check_bundle(bundle: Path, manifest: Manifest, images: LabelledImages, reference: Reference) -> list[GraphParity]:
    """Run every variant of a bundle on the images, as a chain and as one graph.

    ``manifest`` describes the files in the folder ``bundle``, which need not hold it yet.
    """
    results: list[GraphParity] = []
    for variant in manifest.variants:
        with open_variant(bundle, manifest, variant) as classifier:
            results.append(_check_chain(classifier, variant, images, reference))
        results.append(_check_model(bundle, manifest, variant, images))
    # in turns, so that a moment in which the machine is busy slows all graphs alike
    runners = [graph_runner(bundle, manifest, result.variant, whole=result.role == MODEL) for result in results]
    latencies = median_latencies(runners, images.images[0])
    return [replace(result, latency_ms=latency) for result, latency in zip(results, latencies, strict=True)]


def open_variant(bundle: Path, manifest: Manifest, variant: str) -> Classifier:
    """Load a variant as a device does, with the manifest in memory."""
    engine, precision = variant.split("-", 1)
    return Classifier(bundle, manifest, engine=engine, precision=precision, threads=available_cpus())


def parity_entry(result: GraphParity, reference: Reference, truth: NDArray[np.int64]) -> Parity:
    """Return a result's entry in the manifest."""
    predicted, expected = result.probabilities.argmax(1), reference.probabilities.argmax(1)
    return Parity(
        variant=result.variant,
        role=result.role,
        images=len(truth),
        top1_agreement=float((predicted == expected).mean()),
        max_probability_difference=float(np.abs(result.probabilities - reference.probabilities).max()),
        accuracy_change=float((predicted == truth).mean() - (expected == truth).mean()),
        balanced_accuracy_change=balanced_accuracy(truth, predicted) - balanced_accuracy(truth, expected),
        size_bytes=result.size_bytes,
        latency_ms=result.latency_ms,
    )


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
            explain_class=reference.classes.codes[int(reference.probabilities[index].argmax())] if explained else None,
            patient=None if specification is None else patient_of(record, specification),
        )
        probabilities.append(list(prediction.probabilities.values()))
        if explained:
            assert prediction.class_activation_map is not None
            correlations.append(map_correlation(prediction.class_activation_map, reference.maps[index]))
    files = classifier.manifest.variants[variant]
    size = sum(classifier.manifest.graph(file).size_bytes for file in (files.features, files.head))
    return GraphParity(variant, CHAIN, np.array(probabilities), tuple(correlations), size)


def _check_model(bundle: Path, manifest: Manifest, variant: str, images: LabelledImages) -> GraphParity:
    graph = manifest.graph(model_file(manifest, variant))
    run = backend(graph.format).load_graph(read_verified(bundle, graph), 1, 1)
    metadata = images.patient_vectors(manifest.patient_metadata)
    probabilities = []
    for index, image in enumerate(_progress(images.images, f"{variant} {MODEL}", len(images))):
        patient = None if metadata is None else metadata[index]
        probabilities.append(run(graph_inputs(image, patient))["probabilities"][0].astype(np.float64))
    return GraphParity(variant, MODEL, np.array(probabilities), (), graph.size_bytes)


def _progress(items: Any, description: str, total: int) -> Any:
    return tqdm(items, desc=description, total=total, disable=not sys.stderr.isatty())
