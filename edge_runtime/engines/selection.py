"""``engine="auto"``: measure the installed engines on the bundle's own graph once, remember the fastest one.

The measurement takes well under a second and is kept in a small JSON file in the user's cache folder
(``$XDG_CACHE_HOME/dermedge``), keyed by everything that can change the outcome: graph checksums, precision, threads,
the engines' packages and the CPU.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np

from edge_runtime.bundle.manifest import Manifest, read_verified
from edge_runtime.engines import backend, installed_engines, variant_read_by
from edge_runtime.errors import EngineError
from edge_runtime.machine import cpu_name

_ROUNDS = 9


def choose_engine(bundle: Path, manifest: Manifest, precision: str, threads: int) -> str:
    """Return the fastest installed engine for which the bundle has a variant of this precision."""
    installed = installed_engines()
    candidates = [engine for engine in installed if variant_read_by(engine, precision) in manifest.variants]
    if not candidates:
        raise EngineError(
            f"{bundle}: no usable variant of precision {precision!r}: the bundle has "
            f"{', '.join(sorted(manifest.variants))}; installed engines: {', '.join(installed) or 'none'}"
        )
    if len(candidates) == 1:
        return candidates[0]
    cache = _cache_folder() / f"engine-{_key(manifest, candidates, precision, threads)}.json"
    remembered = _read_choice(cache)
    if remembered in candidates:
        return remembered
    timings = measure_engines(bundle, manifest, candidates, precision, threads)
    choice = min(timings, key=timings.__getitem__)
    _write_choice(cache, choice, timings)
    return choice


def measure_engines(
    bundle: Path, manifest: Manifest, engines: list[str], precision: str, threads: int
) -> dict[str, float]:
    """Return milliseconds of ``features`` for each engine, measured in turns on one black image.

    Lower quartiles, because other programs on the machine only ever add time.
    """
    size = manifest.input.size
    inputs = {"image_nhwc": np.zeros((1, size, size, 3), dtype=np.uint8)}
    graphs = {}
    for engine in engines:
        file = manifest.variants[variant_read_by(engine, precision)].features
        graphs[engine] = backend(engine).load_graph(read_verified(bundle, manifest.graph(file)), threads, 1)
        graphs[engine](inputs)  # the first call allocates
    durations: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(_ROUNDS):
        for engine, run in graphs.items():
            started = perf_counter()
            run(inputs)
            durations[engine].append(1e3 * (perf_counter() - started))
    return {engine: sorted(values)[len(values) // 4] for engine, values in durations.items()}


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dermedge"


def _key(manifest: Manifest, engines: list[str], precision: str, threads: int) -> str:
    graphs = [
        manifest.graph(manifest.variants[variant_read_by(engine, precision)].features).sha256 for engine in engines
    ]
    packages = [_file_state(backend(engine).package_file()) for engine in engines]  # importing them would be slow
    parts = [*graphs, *packages, str(threads), os.uname().machine, cpu_name()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _file_state(path: str) -> str:
    try:
        state = Path(path).stat()
    except OSError:
        return path
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def _read_choice(cache: Path) -> str | None:
    try:
        return msgspec.json.decode(cache.read_bytes(), type=dict[str, object]).get("engine")  # type: ignore[return-value]
    except (OSError, msgspec.DecodeError):
        return None


def _write_choice(cache: Path, engine: str, timings: dict[str, float]) -> None:
    """Remember the choice; on a read-only or full disk the next start measures again."""
    try:
        import tempfile  # needed once per machine

        cache.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=cache.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode({"engine": engine, "milliseconds": timings}))
        Path(temporary).replace(cache)
    except OSError:
        return
