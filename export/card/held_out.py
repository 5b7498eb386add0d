"""Held-out figures of a bundle's graphs: those that ``python -m train.evaluate --bundle`` writes, kept in the bundle.

Nothing is computed here a second time: a report of :mod:`train.evaluate` is checked to be of this very bundle, and
what a model card needs of it is stored as ``evaluation.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from export.report.page import read_json
from train import evaluate
from train.files import write_text_atomically

EVALUATION_NAME = "evaluation.json"
KEPT = (
    "created", "code_version", "data", "intervals", "summary", "confusion_matrix", "calibration", "subgroups",
)  # fmt: skip
"""Parts of an evaluation's report that are stored whole (but for the reliability diagram's bins)."""


def evaluate_bundle(bundle: Path, manifest: Manifest, data: Path | None, arguments: list[str]) -> list[Path]:
    """Evaluate every int8 variant (every variant where there is none) on the test set; return the reports' paths.

    Only the first variant is also judged on corrupted images, the slow part of an evaluation.
    """
    variants = [name for name in manifest.variants if name.endswith("-int8")] or list(manifest.variants)
    reports = []
    for position, variant in enumerate(variants):
        engine, precision = variant.split("-", 1)
        flags = ["--bundle", str(bundle), "--engine", engine, "--precision", precision, *arguments]
        flags += ["--data", str(data)] if data else []
        flags += ["--corruption-images", "0"] if position else []
        reports.append(evaluate.evaluate(evaluate.read_flags(flags)) / "report.json")
    return reports


def store_evaluations(
    bundle: Path,
    manifest: Manifest,
    reports: list[Path],
    initialisation: str | None = None,
    cross_validation: dict[str, Any] | None = None,
) -> Path:
    """Write ``evaluation.json`` from evaluation reports of this bundle, what is to be said of the first weights, and
    what :func:`export.card.cross_validation.read_cross_validation` returns.

    What an older file says is kept unless it is said anew. Raises :class:`BundleError` for reports of anything else.
    """
    stored = read_evaluations(bundle)
    evaluations = dict(stored["evaluations"])
    for path in reports:
        figures = read_json(path)
        evaluations[_variant(figures, manifest, path)] = _trimmed(figures)
    content = {
        "initialisation": initialisation or stored["initialisation"],
        "cross_validation": cross_validation or stored.get("cross_validation"),
        "evaluations": evaluations,
    }
    path = bundle / EVALUATION_NAME
    write_text_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def read_evaluations(bundle: Path) -> dict[str, Any]:
    """Return what ``evaluation.json`` holds; a bundle that nobody evaluated has no figures."""
    path = bundle / EVALUATION_NAME
    return read_json(path) if path.is_file() else {"initialisation": None, "evaluations": {}}


def _variant(figures: dict[str, Any], manifest: Manifest, path: Path) -> str:
    """Return which variant was evaluated, after checking that it was this bundle's, and on images it never saw."""
    try:
        details, part = figures["subject"]["details"], figures["data"]["part"]
        found = (details.get("variant"), details["checkpoint SHA-256"], details.get("exported"))
    except (KeyError, TypeError):
        raise BundleError(f"{path}: expected the report.json of an evaluation, found something else") from None
    for name, one, expected in (
        ("checkpoint SHA-256", found[1], manifest.provenance.checkpoint_sha256),
        ("date of export", found[2], manifest.provenance.created),
    ):
        if one != expected:
            raise BundleError(f"{path}: expected an evaluation of this bundle with {name} {expected}, found {one}")
    if found[0] not in manifest.variants:
        raise BundleError(f"{path}: expected a variant of {' '.join(manifest.variants)}, found {found[0]}")
    if part not in ("test", "all"):
        raise BundleError(f"{path}: expected held-out images (--split test or all), found the {part} part")
    if figures["views"] > 1:
        raise BundleError(f"{path}: expected one view of each image, found an average over {figures['views']}")
    return str(found[0])


def _trimmed(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what a card needs: figures without the points of curves and without the paths of this machine."""
    kept = {name: figures[name] for name in KEPT}
    kept["data"] = {name: value for name, value in kept["data"].items() if name not in ("folder", "unreadable")}
    kept["calibration"] = {
        name: {key: value for key, value in one.items() if key != "bins"} if isinstance(one, dict) else one
        for name, one in kept["calibration"].items()
    }
    kept["classes"] = [{key: value for key, value in row.items() if key != "curves"} for row in figures["classes"]]
    kept["malignancy"] = {key: value for key, value in figures["malignancy"].items() if key != "curves"}
    kept["threshold"] = figures["selective"]["threshold"]
    corruptions, outliers = figures["corruptions"], figures["outliers"]
    kept["corruptions"] = corruptions and {
        "images": corruptions["images"],
        "clean": corruptions["clean"],
        "mean": corruptions["mean"],
        "rows": [{"name": row["name"], "mean": row["mean"]} for row in corruptions["rows"]],
    }
    kept["outliers"] = outliers and {
        **{key: outliers[key] for key in ("auc", "refused", "false_alarm_rate")},
        "kinds": [{key: row[key] for key in ("kind", "images", "auc", "refused")} for row in outliers["kinds"]],
    }
    return kept
