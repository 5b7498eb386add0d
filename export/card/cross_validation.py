"""The card's section on the recipe's cross-validation: the summary that ``python -m train --folds K`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.bundle.classes import CLASS_CODES
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
    "calibrated_error": "calibration error",
}
SAME_TOGETHER = {"calibrated_error": "expected_calibration_error"}
"""The pooled predictions are all calibrated, so there the calibration error has its usual name."""

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
    summary = read_json(path)
    names = ("data_fingerprint", "fold_by", "images", "folds", "mean", "standard_deviation", "together")
    missing = [name for name in names if name not in summary]
    if missing:
        raise BundleError(f"{path}: expected the summary of this version, found one without {' '.join(missing)}")
    found, expected = summary["data_fingerprint"], manifest.provenance.data_fingerprint
    if found != expected:
        raise BundleError(f"{path}: expected folds of the bundle's images ({expected[:16]}), found {found[:16]}")
    configuration = read_json(folder / "config.json")
    kept = {name: summary[name] for name in ("fold_by", "images", "mean", "standard_deviation", "together")}
    return kept | {
        "folds": len(summary["folds"]),
        "epochs": configuration["epochs"] + configuration["final_epochs"],
        "settings": reported_settings(configuration),
    }


def cross_validation_section(summary: Summary | None) -> str:
    """Return the card's section, or nothing where no cross-validation was made."""
    if summary is None:
        return ""
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary["settings"].items())
    return (
        f"## Cross-validation\n\n{summary['folds']} folds (by {summary['fold_by']}, no lesion on two sides) of the "
        f"{summary['images']} images outside the test set, in fp32, each predicted by the network that was not trained "
        f"on it. These networks were trained for {summary['epochs']} epochs each ({settings}); none of them is the "
        "deployed one. The calibration error is that after temperature scaling, with temperatures from other images."
        "\n\n" + _metrics(summary) + "\n" + _classes(summary) + "\n"
    )


def _metrics(summary: Summary) -> str:
    rows = ["| metric | mean ± standard deviation over folds | all predictions pooled |\n|---|---|---|\n"]
    for name, title in METRICS.items():
        mean, deviation = summary["mean"][name], summary["standard_deviation"][name]
        together = summary["together"].get(SAME_TOGETHER.get(name, name), UNDEFINED)
        rows.append(f"| {title} | {mean:.3f} ± {deviation:.3f} | {format_interval(together)} |\n")
    return "".join(rows)


def _classes(summary: Summary) -> str:
    rows = ["| class | sensitivity | precision | AUC |\n|---|---|---|---|\n"]
    for code in CLASS_CODES:
        names = (f"{name}/{code}" for name in ("sensitivity", "precision", "auc"))
        cells = (format_interval(summary["together"].get(name, UNDEFINED)) for name in names)
        rows.append(f"| `{code}` | {' | '.join(cells)} |\n")
    return "".join(rows)
