"""The card's section on the recipe's cross-validation: the summary that ``python -m train --folds K`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from export.card.results import format_interval
from export.report.page import read_json
from export.report.run_facts import reported_settings

SUMMARY_NAME = "folds.json"
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "expected_calibration_error_after_scaling": "calibration error",
}
NAMES_WHEN_POOLED = {"expected_calibration_error_after_scaling": "expected_calibration_error"}
"""The pooled predictions are all calibrated, so there the calibration error has its usual name."""

FORMER_NAMES = {"together": "pooled", "calibrated_error": "expected_calibration_error_after_scaling"}
"""Keys that summaries of version 0.1.0 have, such as the one in a committed bundle."""

UNDEFINED: dict[str, float | None] = {"value": None}
"""A metric that the summary leaves out, such as the AUC of a class without images."""

Summary = dict[str, Any]


def read_cross_validation(folder: Path, manifest: Manifest) -> Summary:
    """Return what the card needs of a cross-validation's folder.

    Raises :class:`BundleError` where it is not finished, or used other images than the bundle.
    """
    path = folder / SUMMARY_NAME
    if not path.is_file():
        raise BundleError(f"{folder}: expected {SUMMARY_NAME} of a finished python -m train --folds, found none")
    summary = current_names(read_json(path))
    names = ("data_fingerprint", "fold_by", "images", "folds", "mean", "standard_deviation", "pooled")
    missing = [name for name in names if name not in summary]
    if missing:
        raise BundleError(f"{path}: expected the summary of this version, found one without {' '.join(missing)}")
    found, expected = summary["data_fingerprint"], manifest.provenance.data_fingerprint
    if found != expected:
        raise BundleError(f"{path}: expected folds of the bundle's images ({expected[:16]}), found {found[:16]}")
    configuration = read_json(folder / "config.json")
    kept = {name: summary[name] for name in ("fold_by", "images", "mean", "standard_deviation", "pooled")}
    return kept | {
        "folds": len(summary["folds"]),
        "epochs": configuration["epochs"] + configuration["final_epochs"],
        "settings": reported_settings(configuration),
    }


def current_names(summary: Summary) -> Summary:
    """Return a summary with the keys of this version."""
    return {
        FORMER_NAMES.get(name, name): current_names(value) if isinstance(value, dict) else value
        for name, value in summary.items()
    }


def cross_validation_section(summary: Summary | None, codes: Sequence[str]) -> str:
    """Return the card's section, or nothing where no cross-validation was made."""
    if summary is None:
        return ""
    summary = current_names(summary)
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary["settings"].items())
    return (
        f"## Cross-validation\n\n{summary['folds']} folds (by {summary['fold_by']}, no lesion on two sides) of the "
        f"{summary['images']} images outside the test set, in fp32, each predicted by the network that was not trained "
        f"on it. These networks were trained for {summary['epochs']} epochs each ({settings}); none of them is the "
        "deployed one. The calibration error is that after temperature scaling, with temperatures from other images."
        "\n\n" + _metrics(summary) + "\n" + _classes(summary, codes) + "\n"
    )


def _metrics(summary: Summary) -> str:
    rows = ["| metric | mean ± standard deviation over folds | all predictions pooled |\n|---|---|---|\n"]
    for name, title in METRICS.items():
        mean, deviation = summary["mean"][name], summary["standard_deviation"][name]
        pooled = summary["pooled"].get(NAMES_WHEN_POOLED.get(name, name), UNDEFINED)
        rows.append(f"| {title} | {mean:.3f} ± {deviation:.3f} | {format_interval(pooled)} |\n")
    return "".join(rows)


def _classes(summary: Summary, codes: Sequence[str]) -> str:
    rows = ["| class | sensitivity | precision | AUC |\n|---|---|---|---|\n"]
    for code in codes:
        names = (f"{name}/{code}" for name in ("sensitivity", "precision", "auc"))
        cells = (format_interval(summary["pooled"].get(name, UNDEFINED)) for name in names)
        rows.append(f"| `{code}` | {' | '.join(cells)} |\n")
    return "".join(rows)
