"""Folder mode on all processors against one image after the other on one thread, and against the bare engine."""

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
from edge_runtime.io.sources import images_in
from edge_runtime.machine import available_cpus

_IMAGES = 160
_ROUNDS = 5


def measure_folder(bundle: Path, jpeg: bytes) -> dict[str, dict[str, float]]:
    """Return by engine the images a second, from file to written line, on one thread and in folder mode.

    ``ratio`` is folder mode over processors × one thread. ``bare_ratio`` is the same for the engine alone on ready
    tensors: what the processors give when all work at once, since they share memory and perhaps execution units.
    ``processor_ratio`` is ``ratio`` by the processor time an image costs, which other programs hardly change.
    """
    variants = read_manifest(bundle).variants
    processors = available_cpus()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_IMAGES):
            (Path(folder) / f"{number:04}.jpg").write_bytes(jpeg)
        return {
            engine: _measure_engine(bundle, engine, folder, processors)
            for engine in installed_engines()
            if variant_read_by(engine, "int8") in variants
        }


def _measure_engine(bundle: Path, engine: str, folder: str, processors: int) -> dict[str, float]:
    with (
        Classifier.load(bundle, engine=engine, threads=1, replicas=processors) as classifier,
        ThreadPoolExecutor(processors) as pool,
    ):
        size = classifier.manifest.input.size
        inputs = {"image_nhwc": np.zeros((1, size, size, 3), dtype=np.uint8)}
        run = classifier._features  # the engine's own call, with nothing of ours around it
        alone = -(-_IMAGES // processors)
        works: dict[str, tuple[int, Callable[[], object]]] = {
            "single": (alone, lambda: _write_all(_one_by_one(classifier, list(images_in(folder))[:alone]))),
            "folder": (_IMAGES, lambda: _write_all(classifier.predict_many(images_in(folder)))),
            "bare single": (alone, lambda: [run(inputs) for _ in range(alone)]),
            "bare all": (_IMAGES, lambda: list(pool.map(lambda _: run(inputs), range(_IMAGES)))),
        }
        list(classifier.predict_many([np.zeros((size, size, 3), dtype=np.uint8)] * 2 * processors))  # allocates
        runs = [{name: _seconds_each(*work) for name, work in works.items()} for _ in range(_ROUNDS)]
    wall = {name: min(seconds[name][0] for seconds in runs) for name in works}
    processor = {name: min(seconds[name][1] for seconds in runs) for name in works}
    return {
        "single_per_second": 1 / wall["single"],
        "folder_per_second": 1 / wall["folder"],
        "processors": processors,
        "ratio": wall["single"] / (processors * wall["folder"]),
        "bare_ratio": wall["bare single"] / (processors * wall["bare all"]),
        "processor_ratio": processor["single"] / processor["folder"],
    }


def _one_by_one(classifier: Classifier, paths: list[str]) -> Iterator[tuple[Any, Any]]:
    return ((path, classifier.predict(path)) for path in paths)


def _write_all(answers: Iterator[tuple[Any, Any]]) -> None:
    """Write every answer as ``predict --output`` does."""
    with tempfile.TemporaryFile("w", encoding="utf-8") as stream:
        writer = prediction_writer("jsonl", stream)
        for name, answer in answers:
            writer.prediction(name, answer)


def _seconds_each(count: int, call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds for each of ``count`` images."""
    started, processor_started = perf_counter(), process_time()
    call()
    return (perf_counter() - started) / count, (process_time() - processor_started) / count
