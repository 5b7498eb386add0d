"""Cold start and memory: the command line against ten-line scripts around the bare engines."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_runtime.bench.scripts import COLD_START_SCRIPTS, LAUNCHER
from edge_runtime.bench.timing import lower_quartile
from edge_runtime.bundle.manifest import Manifest, read_manifest
from edge_runtime.engines import installed_engines, variant_read_by
from edge_runtime.errors import EngineError

_ROUNDS = 11


def measure_cold_starts(bundle: Path, jpeg: bytes) -> dict[str, dict[str, float]]:
    """Return seconds and peak MiB from process start to printed prediction, by ``ENGINE script|dermedge``.

    Both run with their modules compiled, as an installed wheel's are, and in turns; lower quartiles.
    """
    manifest = read_manifest(bundle)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.jpg"
        image.write_bytes(jpeg)
        commands: dict[str, list[str]] = {}
        for engine in installed_engines():
            graphs = chained_graphs(bundle, manifest, variant_read_by(engine, "int8"))
            if engine not in COLD_START_SCRIPTS or not graphs:
                continue
            flags = ["--bundle", str(bundle), "--engine", engine, "--threads", "1", "--json"]
            commands[f"{engine} script"] = [sys.executable, "-c", COLD_START_SCRIPTS[engine], str(image), *graphs]
            commands[f"{engine} dermedge"] = [sys.executable, "-m", "edge_runtime", "predict", str(image), *flags]
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(_ROUNDS + 1):
            for name, command in commands.items():
                measured = _run_once(command, Path(folder) / "compiled")
                if number:  # the first compiles the modules and fills the disk cache
                    runs[name].append(measured)
    return {
        name: {
            "seconds": lower_quartile([seconds for seconds, _ in measured]),
            "mebibytes": lower_quartile([mebibytes for _, mebibytes in measured]),
        }
        for name, measured in runs.items()
    }


def chained_graphs(bundle: Path, manifest: Manifest, variant_name: str) -> list[str]:
    """Return the files that make up the whole network, each taking the output of the one before; empty if none do."""
    variant = manifest.variants.get(variant_name)
    if variant is None:
        return []
    if variant.model is not None:
        return [str(bundle / variant.model)]
    if manifest.patient_metadata is not None:  # the head takes more than the feature map
        return []
    return [str(bundle / variant.features), str(bundle / variant.head)]


def _run_once(command: list[str], compiled: Path) -> tuple[float, float]:
    """Return seconds and peak MiB of a command.

    A small launcher process starts it, because the system counts a parent's memory towards its child's peak.
    """
    environment = {
        **os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONPYCACHEPREFIX": str(compiled)
    }  # fmt: skip
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    finished = subprocess.run(  # noqa: S603 (this interpreter, with our own arguments)
        [sys.executable, "-S", "-E", "-c", LAUNCHER, *command], capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    if finished.returncode != 0:
        raise EngineError(f"{' '.join(command[1:4])[:60]} failed: {finished.stderr.strip().splitlines()[-1]}")
    seconds, mebibytes = finished.stdout.split()
    return float(seconds), float(mebibytes)
