"""``python -m edge_runtime bench``: how close the runtime comes to the bare engine, in one interleaved run.

For every installed engine and precision, one round times, on the same 600×450 JPEG: the bare engine call on a ready
tensor, bytes → prediction, and bytes → prediction with map. Medians over all rounds are printed, and the ratios, which
hold better than milliseconds on a noisy machine.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.backends import installed_engines
from edge_runtime.bundle import find_bundle
from edge_runtime.classifier import Classifier
from edge_runtime.engine_choice import processor_name
from edge_runtime.errors import EngineError
from edge_runtime.manifest import read_manifest
from edge_runtime.preprocessing import load_image_hwc


def run_bench(options: argparse.Namespace) -> int:
    """Measure all usable variants and print the table, or one JSON object."""
    bundle = find_bundle(options.bundle)
    variants = _usable_variants(bundle)
    jpeg = synthetic_jpeg(600, 450)
    stages: dict[tuple[str, str], Callable[[], object]] = {}
    for variant in variants:
        engine, precision = variant.split("-")
        classifier = Classifier.load(bundle, engine=engine, precision=precision, threads=options.threads)
        for stage, call in _stages(classifier, jpeg).items():
            stages[variant, stage] = call
    medians = time_in_turns(stages, options.rounds)
    rows = [_row(variant, medians) for variant in variants]
    if options.json:
        print(json.dumps({"processor": processor_name(), "threads": options.threads, "rows": rows}))
        return 0
    print(f"{processor_name()}, {options.threads} thread(s), medians of {options.rounds} interleaved rounds")
    print(f"{'variant':<14}{'bare ms':>9}{'JPEG→answer':>13}{'ratio':>7}{'with map':>10}{'ratio':>7}")
    for row in rows:
        print(
            f"{row['variant']:<14}{row['bare_ms']:>9.2f}{row['predict_ms']:>13.2f}{row['predict_ratio']:>7.2f}"
            f"{row['explain_ms']:>10.2f}{row['explain_ratio']:>7.2f}"
        )
    return 0


def synthetic_jpeg(width: int, height: int) -> bytes:
    """Return a JPEG of smooth blobs and fine noise, whose decoding costs about as much as a photograph's."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(60, 220, size=(9, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + generator.integers(-6, 7, size=smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def time_in_turns(calls: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """Call each in turn, ``rounds`` times after three warm-up rounds; return each one's median in milliseconds."""
    durations: dict[Any, list[float]] = {key: [] for key in calls}
    for number in range(rounds + 3):
        for key, call in calls.items():
            started = perf_counter()
            call()
            if number >= 3:
                durations[key].append(1e3 * (perf_counter() - started))
    return {key: median(values) for key, values in durations.items()}


def _usable_variants(bundle: Path) -> list[str]:
    installed = installed_engines()
    variants = [name for name in sorted(read_manifest(bundle).variants) if name.split("-")[0] in installed]
    if not variants:
        raise EngineError(f"{bundle}: no engine is installed for any of its variants")
    print(f"measuring {', '.join(variants)} …", file=sys.stderr)
    return variants


def _stages(classifier: Classifier, jpeg: bytes) -> dict[str, Callable[[], object]]:
    inputs = {"image_nhwc": load_image_hwc(jpeg, classifier.manifest.input.size)[np.newaxis]}
    bare = classifier._features  # the engine's own call, with nothing of ours around it
    return {
        "bare": lambda: bare(inputs),
        "predict": lambda: classifier.predict(jpeg),
        "explain": lambda: classifier.predict(jpeg, explain=True),
    }


def _row(variant: str, medians: dict[tuple[str, str], float]) -> dict[str, Any]:
    bare, predict, explain = (medians[variant, stage] for stage in ("bare", "predict", "explain"))
    return {
        "variant": variant,
        "bare_ms": bare,
        "predict_ms": predict,
        "predict_ratio": predict / bare,
        "explain_ms": explain,
        "explain_ratio": explain / predict,
    }
