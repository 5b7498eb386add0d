"""How long the graphs of a bundle take for one image on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle.manifest import Manifest, read_verified
from edge_runtime.bundle.patient import PatientMetadata, encode_patient
from edge_runtime.engines import backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engines import RunGraph

ROUNDS = 30

RunImage = Callable[["NDArray[np.uint8]"], Any]
"""Runs one graph chain on one image [S,S,3]."""


def median_latencies(runners: Sequence[RunImage], image: NDArray[np.uint8]) -> list[float]:
    """Return milliseconds per run of one image [S,S,3], the runners taken in turns."""
    timings: list[list[float]] = [[] for _ in runners]
    for _ in range(ROUNDS):
        for run, times in zip(runners, timings, strict=True):
            started = perf_counter()
            run(image)
            times.append(1e3 * (perf_counter() - started))
    return [median(times[ROUNDS // 5 :]) for times in timings]  # the first ones warm up


def graph_runner(bundle: Path, manifest: Manifest, variant: str, *, whole: bool) -> RunImage:
    """Return a function that runs a variant on one thread: its ``model`` graph if ``whole``, else features and head."""
    files = manifest.variants[variant]
    patient = None
    if manifest.patient_metadata is not None:
        patient = encode_patient(PatientMetadata(), manifest.patient_metadata)

    def load(file: str) -> RunGraph:
        graph = manifest.graph(file)
        return backend(graph.format).load_graph(read_verified(bundle, graph), 1, 1)

    if whole:
        model = load(model_file(manifest, variant))
        return lambda image: model(graph_inputs(image, patient))
    features, head = load(files.features), load(files.head)
    extra = {} if patient is None else {"metadata": patient[np.newaxis]}
    return lambda image: head({**features({"image_nhwc": image[np.newaxis]}), **extra})


def graph_inputs(image: NDArray[np.uint8], patient: NDArray[np.float32] | None) -> dict[str, NDArray[np.generic]]:
    """Return a ``model`` graph's inputs for an image [S,S,3] and, where the model takes one, a patient vector [M]."""
    inputs: dict[str, NDArray[np.generic]] = {"image_nhwc": image[np.newaxis]}
    if patient is not None:
        inputs["metadata"] = patient[np.newaxis]
    return inputs


def model_file(manifest: Manifest, variant: str) -> str:
    """Return the name of a variant's ``model`` graph."""
    file = manifest.variants[variant].model
    assert file is not None, "an export always writes the whole network too"
    return file
