"""``report.json`` as one HTML file that loads nothing else; only the copy beside the run shows images."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from train.report.html import page_environment

TEMPLATES = Path(__file__).parent / "templates"
PAGE_NAME = "report.html"
INSTRUCTION_SETS_NAME = "instruction_sets.json"
LEAST_SCALE = 0.01
"""Half the width of the plots of a change, as a fraction, where no interval is wider."""


def write_bundle_page(folder: Path, manifest: Manifest, report: dict[str, Any]) -> Path:
    """Write ``report.html`` into a bundle, with the table of instruction sets where it was measured."""
    path = folder / PAGE_NAME
    path.write_text(render_page(manifest, report, read_instruction_sets(folder)), encoding="utf-8")
    return path


def render_page(
    manifest: Manifest,
    report: dict[str, Any],
    instruction_sets: dict[str, Any] | None = None,
    cases: dict[str, list[dict[str, Any]]] | None = None,
) -> str:
    """Return the page. ``report`` is the tree of ``report.json``; ``cases`` are images to show by variant."""
    environment = page_environment(TEMPLATES)
    scale = _scale(report)
    environment.filters |= {
        "points": _points,
        "signed": lambda count: f"{count:+d}".replace("-", "−") if count else "0",
        "scientific": lambda value: "0" if value == 0 else f"{value:.1e}",
        "place": lambda value: round(100 * min(1.0, max(0.0, 0.5 + value / (2 * scale))), 2),
    }
    return environment.get_template("export.html.j2").render(
        manifest=msgspec.to_builtins(manifest),
        report={"nodes": {}, "tflite_routes": [], **report},
        demo="This model was trained on generated images." if manifest.demo else "",
        code_version=describe_code_version(manifest.provenance.code_version),
        instruction_sets=instruction_sets,
        cases=cases or {},
        kept={name: _least_divergent(tried) for name, tried in report["int8_recipes"].items()},
        scale=scale,
    )


def read_instruction_sets(folder: Path) -> dict[str, Any] | None:
    """Return what was measured on emulated CPUs, ``None`` if nothing was. Raises :class:`BundleError`."""
    path = folder / INSTRUCTION_SETS_NAME
    return read_json(path) if path.is_file() else None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises :class:`BundleError` naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: expected a JSON file, found {error}") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def describe_code_version(code_version: str) -> str:
    """Return the manifest's code version, and in words that its working tree had uncommitted changes."""
    if not code_version.endswith("-dirty)"):
        return code_version
    return code_version.replace("-dirty)", "), made from a tree with uncommitted changes")


def _points(change: float | None) -> str:
    """Return a change of a fraction in percentage points, with a typographic minus sign."""
    return "–" if change is None else f"{100 * change + 0.0:+.2f}".replace("-", "−")


def _scale(report: dict[str, Any]) -> float:
    names = ("accuracy_change", "balanced_accuracy_change")
    bounds = [chain["intervals"][name] for chain in report["chains"] for name in names]
    largest = max((abs(one[end] or 0.0) for one in bounds for end in ("value", "low", "high")), default=0.0)
    return max(LEAST_SCALE, math.ceil(200 * largest) / 200)


def _least_divergent(tried: list[dict[str, Any]]) -> str:
    return str(min(tried, key=lambda score: score["divergence"])["recipe"]) if tried else ""
