"""``python -m edge_runtime bench``: how close the runtime comes to the bare engine, in one interleaved run.

For every installed engine and precision, one round times, in an order that changes: the bare engine call on a ready
tensor; Pillow's own decoding and scaling of a 600×450 JPEG (pixels); the bytes of that JPEG → prediction; the same with
heat map; and the bytes of a 12-megapixel JPEG → prediction. It prints lower quartiles over all rounds, because other
programs only ever add time, and ratios, because they carry over to other machines. ``--peers`` adds cold start, memory
(:mod:`edge_runtime.bench.cold_start`), folder mode (:mod:`edge_runtime.bench.folder`) and other engines
(:mod:`edge_runtime.bench.peers`), ``--plain`` plain networks of those engines' own tools
(:mod:`edge_runtime.bench.plain`), and ``--profile`` what onnxruntime spends its time on
(:mod:`edge_runtime.bench.profile`). :mod:`edge_runtime.bench.report` holds the bars.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime.bench.options import BenchOptions
from edge_runtime.bench.report import bars_as_json, find_bars, print_report
from edge_runtime.bench.timing import synthetic_jpeg, time_in_turns
from edge_runtime.bundle.location import find_bundle
from edge_runtime.bundle.manifest import read_manifest, read_verified
from edge_runtime.classifier import Classifier
from edge_runtime.engines import usable_variants
from edge_runtime.engines.selection import measure_engines
from edge_runtime.errors import EngineError
from edge_runtime.imaging.preprocessing import load_image_hwc
from edge_runtime.machine import cpu_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run_bench(options: BenchOptions) -> int:
    """Measure all usable variants and print tables or one JSON object; with ``--check`` return 1 if a bar is missed."""
    bundle = find_bundle(options.bundle)
    variants = _usable_variants(bundle)
    print(f"measuring {', '.join(variants)} …", file=sys.stderr)
    jpeg = synthetic_jpeg(600, 450)
    rows = measure_variants(bundle, variants, jpeg, options.threads, options.rounds)
    result: dict[str, Any] = {
        "cpu": cpu_name(), "threads": options.threads, "rounds": options.rounds, "rows": rows,
        **_auto(bundle, rows, options.threads),
    }  # fmt: skip
    if options.peers:
        result.update(_measure_around(bundle, jpeg, options.threads, options.rounds))
    if options.plain is not None:
        from edge_runtime.bench.plain import measure_plain

        print("measuring plain networks …", file=sys.stderr)
        result["plain"] = measure_plain(bundle, options.plain, jpeg, options.threads, options.rounds)
    if options.profile:
        result["profile"] = _profile_variants(bundle, variants, jpeg, options.threads, options.rounds)
    bars = find_bars(result)
    if options.json:
        print(json.dumps({**result, "bars": bars_as_json(bars)}))
    else:
        print_report(result, bars)
    return int(options.check and not all(bar.inside for bar in bars))


def _measure_around(bundle: Path, jpeg: bytes, threads: int, rounds: int) -> dict[str, Any]:
    from edge_runtime.bench.cold_start import measure_cold_starts
    from edge_runtime.bench.folder import measure_folder
    from edge_runtime.bench.peers import measure_peers

    print("measuring other engines, cold starts and folder mode …", file=sys.stderr)
    return {
        "cold": measure_cold_starts(bundle, jpeg),  # before the others' libraries fill this process's memory
        "folder": measure_folder(bundle, jpeg),
        "peers": measure_peers(bundle, jpeg, threads, rounds),
    }


def _profile_variants(
    bundle: Path, variants: list[str], jpeg: bytes, threads: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Return by variant of onnxruntime each kind of operator's share of the backbone's time."""
    from edge_runtime.bench.profile import operator_shares

    manifest = read_manifest(bundle)
    image_nhwc = load_image_hwc(jpeg, manifest.input.size)[np.newaxis]
    graphs = {name: manifest.graph(manifest.variants[name].features) for name in variants if name.startswith("onnx-")}
    return {
        name: operator_shares(read_verified(bundle, graph), image_nhwc, threads, rounds)
        for name, graph in graphs.items()
    }


def measure_variants(bundle: Path, variants: list[str], jpeg: bytes, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row of milliseconds and ratios for each variant, all measured in turns."""
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    phone = synthetic_jpeg(4000, 3000)
    for variant in variants:
        engine, precision = variant.split("-")
        classifier = Classifier.load(bundle, engine=engine, precision=precision, threads=threads)
        for stage, call in _stages(classifier, jpeg, phone).items():
            calls[variant, stage] = call
    timings = time_in_turns(calls, rounds)
    return [_row(variant, timings) for variant in variants]


def _usable_variants(bundle: Path) -> list[str]:
    variants = usable_variants(read_manifest(bundle).variants)
    if not variants:
        raise EngineError(f"{bundle}: no engine is installed for any of its variants")
    return variants


def _stages(classifier: Classifier, jpeg: bytes, phone: bytes) -> dict[str, Callable[[], object]]:
    inputs = {"image_nhwc": load_image_hwc(jpeg, classifier.manifest.input.size)[np.newaxis]}
    bare = classifier._features  # the engine's own call, without any of our code around it
    return {
        "bare": lambda: bare(inputs),
        "pixels": lambda: pillow_pixels(jpeg, classifier.manifest.input.size),
        "predict": lambda: classifier.predict(jpeg),
        "explain": lambda: classifier.predict(jpeg, explain=True),
        "phone": lambda: classifier.predict(phone),
    }


def pillow_pixels(jpeg: bytes, size: int) -> NDArray[np.uint8]:
    """Return a JPEG's pixels with Pillow alone: the cost of decoding and scaling that every program pays."""
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
    """Return which engine ``auto``'s measurement picks now, and its time here ÷ the best engine's."""
    bare = {row["variant"].split("-")[0]: row["bare_ms"] for row in rows if row["variant"].endswith("-int8")}
    if len(bare) < 2:
        return {"auto": next(iter(bare), None), "auto_ratio": 1.0}
    timings = measure_engines(bundle, read_manifest(bundle), list(bare), "int8", threads)
    choice = min(timings, key=timings.__getitem__)
    return {"auto": choice, "auto_ratio": bare[choice] / min(bare.values())}
