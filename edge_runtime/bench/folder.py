"""Folder mode on all CPUs, compared with one image at a time on one thread and with the bare engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.engines import installed_engines, variant_read_by
from edge_runtime.io.output import prediction_writer
from edge_runtime.machine import available_cpus

_IMAGES = 160
_ROUNDS = 5


def measure_folder(bundle: Path, jpeg: bytes) -> dict[str, dict[str, float]]:
    """Return by engine the images per second, from file to written line, on one thread and in folder mode.

    ``ratio`` is folder mode ÷ (CPUs × one thread). ``bare_ratio`` is the same for the engine alone on ready tensors:
    the most that CPUs sharing memory, and perhaps execution units, can give. ``cpu_time_ratio`` is ``ratio`` computed
    from CPU time per image, which other programs hardly change.
    """
    variants = read_manifest(bundle).variants
    cpus = available_cpus()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_IMAGES):
            (Path(folder) / f"{number:04}.jpg").write_bytes(jpeg)
        return {
            engine: _measure_engine(bundle, engine, folder, cpus)
            for engine in installed_engines()
            if variant_read_by(engine, "int8") in variants
        }


def _measure_engine(bundle: Path, engine: str, folder: str, cpus: int) -> dict[str, float]:
    with (
        Classifier.load(bundle, engine=engine, threads=1, replicas=cpus) as classifier,
        ThreadPoolExecutor(cpus) as pool,
    ):
        size = classifier.manifest.input.size
        inputs = {"image_nhwc": np.zeros((1, size, size, 3), dtype=np.uint8)}
        run = classifier._features  # the engine's own call, without any of our code around it
        alone = -(-_IMAGES // cpus)
        paths = sorted(str(path) for path in Path(folder).iterdir())
        works: dict[str, tuple[int, Callable[[], object]]] = {
            "single": (alone, lambda: _write_all(classifier, _one_by_one(classifier, paths[:alone]))),
            "folder": (_IMAGES, lambda: _write_all(classifier, classifier.predict_many(paths))),
            "bare single": (alone, lambda: [run(inputs) for _ in range(alone)]),
            "bare all": (_IMAGES, lambda: list(pool.map(lambda _: run(inputs), range(_IMAGES)))),
        }
        list(classifier.predict_many([np.zeros((size, size, 3), dtype=np.uint8)] * 2 * cpus))  # allocates
        runs = [{name: _seconds_each(*work) for name, work in works.items()} for _ in range(_ROUNDS)]
    wall = {name: min(seconds[name][0] for seconds in runs) for name in works}
    cpu = {name: min(seconds[name][1] for seconds in runs) for name in works}
    return {
        "single_per_second": 1 / wall["single"],
        "folder_per_second": 1 / wall["folder"],
        "cpus": cpus,
        "ratio": wall["single"] / (cpus * wall["folder"]),
        "bare_ratio": wall["bare single"] / (cpus * wall["bare all"]),
        "cpu_time_ratio": cpu["single"] / cpu["folder"],
    }


def _one_by_one(classifier: Classifier, paths: list[str]) -> Iterator[tuple[Any, Any]]:
    return ((path, classifier.predict(path)) for path in paths)


def _write_all(classifier: Classifier, predictions: Iterator[tuple[Any, Any]]) -> None:
    """Write every prediction as ``predict --output`` does."""
    with tempfile.TemporaryFile("w", encoding="utf-8") as stream:
        writer = prediction_writer("jsonl", stream, classifier.manifest.class_set)
        for name, prediction in predictions:
            writer.prediction(name, prediction)


def _seconds_each(count: int, call: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds per image of ``count`` images."""
    started, cpu_started = perf_counter(), process_time()
    call()
    return (perf_counter() - started) / count, (process_time() - cpu_started) / count
