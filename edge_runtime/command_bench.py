"""``python -m edge_runtime bench``: how close the runtime comes to the bare engine, in one interleaved run.

For every installed engine and precision, one round times: the bare engine call on a ready tensor; Pillow's own decoding
and scaling of a 600×450 JPEG (pixels); the bytes of that JPEG → prediction; the same with map; and the bytes of a
12-megapixel JPEG → prediction. What is printed are lower quartiles over all rounds, because other programs only ever
add time, and ratios, because they hold on any machine. ``--peers`` adds other engines, cold start, memory and folder
mode (:mod:`edge_runtime.bench_peers`).
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime.backends import installed_engines
from edge_runtime.bundle import find_bundle
from edge_runtime.classifier import Classifier
from edge_runtime.engine_choice import measure_engines, processor_name
from edge_runtime.errors import EngineError
from edge_runtime.manifest import read_manifest
from edge_runtime.preprocessing import load_image_hwc

if TYPE_CHECKING:
    from numpy.typing import NDArray

BARS = {"predict_ratio": 1.25, "explain_ratio": 1.05, "phone_ratio": 3.0, "auto_ratio": 1.1}
"""What the int8 variants are held to: JPEG → answer ÷ bare, with map ÷ without, 12 megapixels ÷ bare, auto ÷ best."""

_HEADER = (
    f"{'variant':<13}{'bare ms':>9}{'pixels ms':>11}{'JPEG ms':>9}{'÷ bare':>8}{'÷ both':>8}"
    f"{'map ms':>9}{'÷ JPEG':>8}{'12 MP ms':>10}{'÷ bare':>8}"
)


def run_bench(options: argparse.Namespace) -> int:
    """Measure all usable variants and print the table, or one JSON object."""
    bundle = find_bundle(options.bundle)
    variants = _usable_variants(bundle)
    print(f"measuring {', '.join(variants)} …", file=sys.stderr)
    rows = measure_variants(bundle, variants, options.threads, options.rounds)
    result: dict[str, Any] = {
        "processor": processor_name(), "threads": options.threads, "rounds": options.rounds, "bars": BARS,
        "rows": rows, **_auto(bundle, rows, options.threads),
    }  # fmt: skip
    if options.peers:
        from edge_runtime.bench_peers import measure_peers

        result["peers"] = measure_peers(bundle, options.threads, options.rounds)
    if options.json:
        print(json.dumps(result))
        return 0
    _print_table(result)
    if options.peers:
        from edge_runtime.bench_peers import print_peers

        print_peers(result["peers"])
    return 0


def measure_variants(bundle: Path, variants: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row of milliseconds and ratios for each variant, all measured in turns."""
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    jpeg, phone = synthetic_jpeg(600, 450), synthetic_jpeg(4000, 3000)
    for variant in variants:
        engine, precision = variant.split("-")
        classifier = Classifier.load(bundle, engine=engine, precision=precision, threads=threads)
        for stage, call in _stages(classifier, jpeg, phone).items():
            calls[variant, stage] = call
    timings = time_in_turns(calls, rounds)
    return [_row(variant, timings) for variant in variants]


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
    """Call each in turn, ``rounds`` times after three warm-up rounds; return lower quartiles in milliseconds."""
    durations: dict[Any, list[float]] = {key: [] for key in calls}
    for number in range(rounds + 3):
        for key, call in calls.items():
            started = perf_counter()
            call()
            if number >= 3:
                durations[key].append(1e3 * (perf_counter() - started))
    return {key: lower_quartile(values) for key, values in durations.items()}


def lower_quartile(values: list[float]) -> float:
    """Return the value that a quarter of the others lie below."""
    return sorted(values)[len(values) // 4]


def _usable_variants(bundle: Path) -> list[str]:
    installed = installed_engines()
    variants = [name for name in sorted(read_manifest(bundle).variants) if name.split("-")[0] in installed]
    if not variants:
        raise EngineError(f"{bundle}: no engine is installed for any of its variants")
    return variants


def _stages(classifier: Classifier, jpeg: bytes, phone: bytes) -> dict[str, Callable[[], object]]:
    inputs = {"image_nhwc": load_image_hwc(jpeg, classifier.manifest.input.size)[np.newaxis]}
    bare = classifier._features  # the engine's own call, with nothing of ours around it
    return {
        "bare": lambda: bare(inputs),
        "pixels": lambda: pillow_pixels(jpeg, classifier.manifest.input.size),
        "predict": lambda: classifier.predict(jpeg),
        "explain": lambda: classifier.predict(jpeg, explain=True),
        "phone": lambda: classifier.predict(phone),
    }


def pillow_pixels(jpeg: bytes, size: int) -> NDArray[np.uint8]:
    """Return a JPEG's pixels with Pillow alone: what anybody pays for decoding and scaling before the engine runs."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def _row(variant: str, timings: dict[tuple[str, str], float]) -> dict[str, Any]:
    stages = ("bare", "pixels", "predict", "explain", "phone")
    bare, pixels, predict, explain, phone = (timings[variant, stage] for stage in stages)
    return {
        "variant": variant,
        "bare_ms": bare,
        "pixels_ms": pixels,
        "floor_ratio": predict / (bare + pixels),
        "predict_ms": predict,
        "predict_ratio": predict / bare,
        "explain_ms": explain,
        "explain_ratio": explain / predict,
        "phone_ms": phone,
        "phone_ratio": phone / bare,
    }


def _auto(bundle: Path, rows: list[dict[str, Any]], threads: int) -> dict[str, Any]:
    """Return which engine ``auto``'s measurement picks now, and its time here over the best engine's."""
    bare = {row["variant"].split("-")[0]: row["bare_ms"] for row in rows if row["variant"].endswith("-int8")}
    if len(bare) < 2:
        return {"auto": next(iter(bare), None), "auto_ratio": 1.0}
    timings = measure_engines(bundle, read_manifest(bundle), list(bare), "int8", threads)
    choice = min(timings, key=timings.__getitem__)
    return {"auto": choice, "auto_ratio": bare[choice] / min(bare.values())}


def _print_table(result: dict[str, Any]) -> None:
    conditions = f"{result['threads']} thread(s), lower quartiles of {result['rounds']} interleaved rounds"
    print(f"{result['processor']}, {conditions}")
    print(_HEADER)
    for row in result["rows"]:
        print(
            f"{row['variant']:<13}{row['bare_ms']:>9.2f}{row['pixels_ms']:>11.2f}{row['predict_ms']:>9.2f}"
            f"{row['predict_ratio']:>8.2f}{row['floor_ratio']:>8.2f}{row['explain_ms']:>9.2f}"
            f"{row['explain_ratio']:>8.2f}{row['phone_ms']:>10.2f}{row['phone_ratio']:>8.2f}"
        )
    print(f"auto picks {result['auto']}: {result['auto_ratio']:.2f} × the best of the engines at int8")
    over = [
        f"{row['variant']} {name.removesuffix('_ratio')} {row[name]:.2f} > {bar:.2f}"
        for row in result["rows"]
        if row["variant"].endswith("-int8")
        for name, bar in BARS.items()
        if row.get(name, 0) > bar
    ]
    print(f"over the bar: {', '.join(over)}" if over else "all int8 ratios are inside their bars")
