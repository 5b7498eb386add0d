"""The card's section on the test set: metrics of the bundle's graphs, with intervals, by class and by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.bundle.manifest import Manifest
from train.evaluation.data import SUBSET_NAMES
from train.report.html import format_number, format_percent


def results_section(manifest: Manifest, evaluations: dict[str, Any]) -> str:
    """Return the section: metrics on the test set, or on the validation set where nobody evaluated the bundle yet."""
    if not evaluations:
        return _validation(manifest)
    first = next(iter(evaluations.values()))
    data = first["data"]
    drawn = " The images were drawn by a program." if data["demo"] else ""
    sections = [
        f"## Results on the test set\n\nThe files of this bundle, run as on a device, on {data['images']} images "
        f"({data['lesions']} lesions; {SUBSET_NAMES[data['subset']]}) that were not used for training, "
        f"calibration or quantisation.{drawn} Brackets: 95 % interval, {first['intervals']['method']}. "
        "`make evaluate BUNDLE=… DATA=…` reproduces these results.\n\n",
        _summary(evaluations),
        f"\n### By class ({next(iter(evaluations))})\n\n",
        _by_class(first),
        _malignancy(first),
        "\n### By group\n\n",
        _subgroups(first),
        "\n### Calibration and thresholds\n\n",
        _calibration(manifest, first),
    ]
    return "".join(sections) + "\n"


def _validation(manifest: Manifest) -> str:
    measured = manifest.measured
    return (
        f"## Results\n\nOn {measured.images} {measured.split} images, PyTorch in fp32:\n\n"
        "| accuracy | balanced accuracy | macro F1 | calibration error |\n|---|---|---|---|\n"
        f"| {measured.accuracy:.2%} | {measured.balanced_accuracy:.2%} | {measured.macro_f1:.3f} | "
        f"{measured.expected_calibration_error:.3f} |\n\n"
        "These images also chose the epoch, the temperature and the thresholds, so the results are optimistically "
        "biased. The bundle has not been evaluated on a test set yet: `python -m export.card --bundle …`.\n\n"
    )


def _summary(evaluations: dict[str, Any]) -> str:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    rows = [
        "| graphs | accuracy | balanced accuracy | macro F1 | weighted F1 | calibration error |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for variant, metrics in evaluations.items():
        error = metrics["calibration"]["after"]["expected_calibration_error"]
        cells = " | ".join(format_interval(metrics["summary"][name]) for name in names)
        rows.append(f"| {variant} | {cells} | {error:.3f} |\n")
    return "".join(rows)


def _by_class(metrics: dict[str, Any]) -> str:
    rows = ["| class | images | sensitivity | specificity | precision | F1 | AUC |\n|---|---|---|---|---|---|---|\n"]
    for row in metrics["classes"]:
        cells = " | ".join(
            format_interval(row[name]) for name in ("sensitivity", "specificity", "precision", "f1", "auc")
        )
        rows.append(f"| `{row['code']}` | {row['support']} | {cells} |\n")
    return "".join(rows)


def _malignancy(metrics: dict[str, Any]) -> str:
    malignant = metrics["malignancy"]
    codes = [row["code"] for row in metrics["classes"] if row["malignant"]]
    if not codes:
        return ""
    points = "; ".join(
        f"{format_interval(point['sensitivity'])} at a specificity of {point['specificity']:.0%}"
        for point in malignant["sensitivity_at_specificity"]
    )
    return (
        f"\nMalignant ({', '.join(codes)}; {malignant['malignant']} images) against the other classes: area under the "
        f"ROC curve {format_interval(malignant['auc'])}; sensitivity {points}.\n"
    )


def _subgroups(metrics: dict[str, Any]) -> str:
    small = metrics["subgroups"]["small_group"]
    rows = [
        "Malignant sensitivity is the share of malignant lesions that are predicted as any malignant class. Groups of "
        f"fewer than {small} images are marked (few): their metrics are unreliable.\n\n",
        "| group | | images | accuracy | balanced accuracy | malignant sensitivity |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for row in metrics["subgroups"]["rows"]:
        few = " (few)" if row["images"] < small else ""
        rows.append(
            f"| {row['attribute']} | {row['value']} | {row['images']}{few} | {format_interval(row['accuracy'])} | "
            f"{format_interval(row['balanced_accuracy'])} | {format_percent(row['malignancy_sensitivity'])} |\n"
        )
    return "".join(rows)


def _calibration(manifest: Manifest, metrics: dict[str, Any]) -> str:
    calibration, limits, chosen = metrics["calibration"], manifest.thresholds, metrics["threshold"]
    errors = [calibration[when]["expected_calibration_error"] for when in ("before", "after")]
    lines = [
        f"- temperature {manifest.calibration.temperature:.3f}, fitted on {manifest.calibration.fitted_on}: expected "
        f"calibration error {errors[0]:.3f} before, {errors[1]:.3f} after\n"
    ]
    if chosen is not None:
        lines.append(
            f'- "not sure" below a confidence of {chosen["not_sure_below"]:.3f}: the other '
            f"{format_percent(chosen['coverage'])} of the test images are predicted with an accuracy of "
            f"{format_percent(chosen['accuracy'])}; on the withheld ones it would be "
            f"{format_percent(chosen['accuracy_of_withheld'])}\n"
        )
    if limits.not_lesion_above is not None and metrics["outliers"]:
        outliers = metrics["outliers"]
        lines.append(
            f'- "not a dermoscopic image" above an outlier score of {limits.not_lesion_above:.3f}: rejects '
            f"{format_percent(outliers['rejected'])} of other images and "
            f"{format_percent(outliers['false_positive_rate'])} of lesions\n"
        )
    return "".join(lines)


def format_interval(one: Mapping[str, float | None]) -> str:
    """Return a metric with its interval's bounds, or what of them is defined."""
    if one["value"] is None or one["low"] is None:
        return format_number(one["value"])
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
