"""Test-set results of a bundle's graphs, as ``python -m train.evaluate --bundle`` writes them, kept in the bundle.

Nothing is computed here a second time: a report of :mod:`train.evaluate` is checked to be of this very bundle, and
what the model card needs of it is stored as ``evaluation.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from export.report.page import read_json
from train.evaluate import evaluate
from train.evaluation.configuration import EvaluationConfiguration
from train.evaluation.data import SUBSET_NAMES
from train.files import write_text_atomically

EVALUATION_NAME = "evaluation.json"
KEPT = (
    "created", "code_version", "data", "intervals", "summary", "confusion_matrix", "calibration", "subgroups",
)  # fmt: skip
"""Entries of an evaluation's report that are stored whole (except the bins of the reliability diagram)."""


def evaluate_bundle(configuration: EvaluationConfiguration, manifest: Manifest) -> list[Path]:
    """Evaluate every int8 variant (every variant where there is none) as configured; return the reports' paths.

    Only the first variant is also evaluated on corrupted images, which takes most of an evaluation's time.
    """
    variants = [name for name in manifest.variants if name.endswith("-int8")] or list(manifest.variants)
    reports = []
    for position, variant in enumerate(variants):
        engine, precision = variant.split("-", 1)
        corruption_images = 0 if position else configuration.corruption_images
        one = msgspec.structs.replace(
            configuration, engine=engine, precision=precision, corruption_images=corruption_images
        )
        reports.append(evaluate(one) / "report.json")
    return reports


def store_evaluations(
    bundle: Path,
    manifest: Manifest,
    reports: list[Path],
    initialisation: str | None = None,
    cross_validation: dict[str, Any] | None = None,
) -> Path:
    """Write ``evaluation.json`` from evaluation reports of this bundle and return its path.

    ``initialisation`` describes the initial weights; ``cross_validation`` is what
    :func:`export.card.cross_validation.read_cross_validation` returns. Entries of an older file are kept unless they
    are given again. Raises :class:`BundleError` for a report of anything else.
    """
    stored = read_evaluations(bundle)
    evaluations = dict(stored["evaluations"])
    for path in reports:
        report = read_json(path)
        evaluations[_variant(report, manifest, path)] = _trimmed(report)
    content = {
        "initialisation": initialisation or stored["initialisation"],
        "cross_validation": cross_validation or stored.get("cross_validation"),
        "evaluations": evaluations,
    }
    path = bundle / EVALUATION_NAME
    write_text_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def read_evaluations(bundle: Path) -> dict[str, Any]:
    """Return the content of ``evaluation.json``, without evaluations for a bundle that nobody evaluated."""
    path = bundle / EVALUATION_NAME
    return read_json(path) if path.is_file() else {"initialisation": None, "evaluations": {}}


def _variant(report: dict[str, Any], manifest: Manifest, path: Path) -> str:
    """Return the evaluated variant, after checking that it is one of this bundle and was evaluated on unseen images."""
    try:
        details, subset = report["subject"]["details"], report["data"]["subset"]
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
    if subset not in ("test", "all"):
        raise BundleError(
            f"{path}: expected test images (--split test or all), found the {SUBSET_NAMES.get(subset, subset)}"
        )
    if report["views"] > 1:
        raise BundleError(f"{path}: expected one view of each image, found an average over {report['views']}")
    return str(found[0])


def _trimmed(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a card needs of a report: no points of curves, and no paths of this machine."""
    kept = {name: report[name] for name in KEPT}
    kept["data"] = {name: value for name, value in kept["data"].items() if name not in ("folder", "unreadable")}
    kept["calibration"] = {
        name: {key: value for key, value in one.items() if key != "bins"} if isinstance(one, dict) else one
        for name, one in kept["calibration"].items()
    }
    kept["classes"] = [{key: value for key, value in row.items() if key != "curves"} for row in report["classes"]]
    kept["malignancy"] = {key: value for key, value in report["malignancy"].items() if key != "curves"}
    kept["threshold"] = report["selective"]["threshold"]
    corruptions, outliers = report["corruptions"], report["outliers"]
    kept["corruptions"] = corruptions and {
        "images": corruptions["images"],
        "clean": corruptions["clean"],
        "mean": corruptions["mean"],
        "rows": [{"name": row["name"], "mean": row["mean"]} for row in corruptions["rows"]],
    }
    kept["outliers"] = outliers and {
        **{key: outliers[key] for key in ("auc", "rejected", "false_positive_rate")},
        "kinds": [{key: row[key] for key in ("kind", "images", "auc", "rejected")} for row in outliers["kinds"]],
    }
    return kept
