"""A model card's held-out figures and, read off them, what the model does badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.bundle.classes import CLASS_CODES
from edge_runtime.bundle.manifest import Manifest
from train.report.page import format_figure, format_percent

LISTED = 5
"""Confusions, corruptions and the like that are listed by name."""


def held_out(manifest: Manifest, evaluations: dict[str, Any]) -> str:
    """Return the section of figures: of the held-out images, or of the validation set where nobody did that yet."""
    if not evaluations:
        return _validation(manifest)
    first = next(iter(evaluations.values()))
    data = first["data"]
    drawn = " The images were drawn by a program." if data["demo"] else ""
    parts = [
        f"## Figures on held-out images\n\nThe files of this bundle, run as on a device, on the {data['images']} "
        f"images ({data['lesions']} lesions) of the {data['part']} part, which neither training, nor calibration, "
        f"nor quantisation has seen.{drawn} Brackets: 95 % interval, {first['intervals']['method']}. "
        "`make evaluate BUNDLE=… DATA=…` gives the same figures.\n\n",
        _summary(evaluations),
        f"\n### By class ({next(iter(evaluations))})\n\n",
        _by_class(first),
        _malignancy(first),
        "\n### By group\n\n",
        _subgroups(first),
        "\n### Calibration and thresholds\n\n",
        _calibration(manifest, first),
    ]
    return "".join(parts) + "\n"


def weaknesses(evaluations: dict[str, Any]) -> str:
    """Return what the model does badly, by its figures; nothing is claimed where nothing was measured."""
    if not evaluations:
        return "## What it does badly\n\nNot measured yet: there are no held-out figures.\n\n"
    figures = next(iter(evaluations.values()))
    lines = [*_weak_classes(figures), *_confusions(figures), *_weak_groups(figures), *_fragile(figures)]
    return "## What it does badly\n\n" + "".join(f"- {line}\n" for line in lines) + "\n"


def _validation(manifest: Manifest) -> str:
    measured = manifest.measured
    return (
        f"## Figures\n\nOn {measured.images} images of the {measured.split} part, PyTorch in fp32:\n\n"
        "| accuracy | balanced accuracy | macro F1 | calibration error |\n|---|---|---|---|\n"
        f"| {measured.accuracy:.2%} | {measured.balanced_accuracy:.2%} | {measured.macro_f1:.3f} | "
        f"{measured.expected_calibration_error:.3f} |\n\n"
        "These images also chose the epoch, the temperature and the thresholds, so the figures flatter. Held-out "
        "figures are not measured yet: `python -m export.card --bundle …`.\n\n"
    )


def _summary(evaluations: dict[str, Any]) -> str:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    rows = [
        "| graphs | accuracy | balanced accuracy | macro F1 | weighted F1 | calibration error |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for variant, figures in evaluations.items():
        error = figures["calibration"]["after"]["expected_calibration_error"]
        cells = " | ".join(format_interval(figures["summary"][name]) for name in names)
        rows.append(f"| {variant} | {cells} | {error:.3f} |\n")
    return "".join(rows)


def _by_class(figures: dict[str, Any]) -> str:
    rows = ["| class | images | sensitivity | specificity | precision | F1 | AUC |\n|---|---|---|---|---|---|---|\n"]
    for row in figures["classes"]:
        cells = " | ".join(
            format_interval(row[name]) for name in ("sensitivity", "specificity", "precision", "f1", "auc")
        )
        rows.append(f"| `{row['code']}` | {row['support']} | {cells} |\n")
    return "".join(rows)


def _malignancy(figures: dict[str, Any]) -> str:
    malignant = figures["malignancy"]
    points = "; ".join(
        f"{format_interval(point['sensitivity'])} at a specificity of {point['specificity']:.0%}"
        for point in malignant["sensitivity_at_specificity"]
    )
    return (
        f"\nMalignant (akiec, bcc, mel; {malignant['malignant']} images) against benign: area under the curve "
        f"{format_interval(malignant['auc'])}; sensitivity {points}.\n"
    )


def _subgroups(figures: dict[str, Any]) -> str:
    small = figures["subgroups"]["small_group"]
    rows = [
        f"Groups of fewer than {small} images are marked (few): their figures say little.\n\n",
        "| group | | images | accuracy | balanced accuracy | malignant called malignant |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for row in figures["subgroups"]["rows"]:
        few = " (few)" if row["images"] < small else ""
        rows.append(
            f"| {row['attribute']} | {row['value']} | {row['images']}{few} | {format_interval(row['accuracy'])} | "
            f"{format_interval(row['balanced_accuracy'])} | {format_percent(row['malignancy_sensitivity'])} |\n"
        )
    return "".join(rows)


def _calibration(manifest: Manifest, figures: dict[str, Any]) -> str:
    judged, limits, chosen = figures["calibration"], manifest.thresholds, figures["threshold"]
    errors = [judged[when]["expected_calibration_error"] for when in ("before", "after")]
    lines = [
        f"- temperature {manifest.calibration.temperature:.3f}, fitted on {manifest.calibration.fitted_on}: expected "
        f"calibration error {errors[0]:.3f} before, {errors[1]:.3f} after\n"
    ]
    if chosen is not None:
        lines.append(
            f'- "not sure" under a confidence of {chosen["not_sure_below"]:.3f}: {format_percent(chosen["coverage"])} '
            f"of the held-out images are answered, {format_percent(chosen['accuracy'])} of those rightly, and "
            f"{format_percent(chosen['accuracy_of_withheld'])} of the withheld ones would be right\n"
        )
    if limits.not_lesion_above is not None and figures["outliers"]:
        outliers = figures["outliers"]
        lines.append(
            f'- "not a dermatoscopic image" above a score of {limits.not_lesion_above:.3f}: refuses '
            f"{format_percent(outliers['refused'])} of other images and "
            f"{format_percent(outliers['false_alarm_rate'])} of lesions\n"
        )
    return "".join(lines)


def _weak_classes(figures: dict[str, Any]) -> list[str]:
    rows = [row for row in figures["classes"] if (row["sensitivity"]["value"] or 0.0) < 1 and row["support"]]
    weakest = sorted(rows, key=lambda row: row["sensitivity"]["value"])[:3]
    return [
        f"{row['name'].lower()} (`{row['code']}`): {format_interval(row['sensitivity'])} of {row['support']} images "
        "are recognised"
        for row in weakest
    ]


def _confusions(figures: dict[str, Any]) -> list[str]:
    matrix = figures["confusion_matrix"]
    pairs = [
        (count, sum(row), CLASS_CODES[truth], CLASS_CODES[answer])
        for truth, row in enumerate(matrix)
        for answer, count in enumerate(row)
        if truth != answer and count
    ]
    most = sorted(pairs, reverse=True)[:LISTED]
    told = "; ".join(f"`{truth}` taken for `{answer}` {count} of {total} times" for count, total, truth, answer in most)
    return [f"most frequent confusions: {told}"] if told else []


def _weak_groups(figures: dict[str, Any]) -> list[str]:
    """Groups whose whole interval lies under the accuracy of all: what is likely more than chance."""
    overall, small = figures["summary"]["accuracy"]["value"], figures["subgroups"]["small_group"]
    weak = [
        f"{row['attribute']} {row['value']} ({format_interval(row['accuracy'])} of {row['images']} images)"
        for row in figures["subgroups"]["rows"]
        if row["images"] >= small and row["accuracy"]["high"] is not None and row["accuracy"]["high"] < overall
    ]
    return [f"less accurate than on all images ({overall:.3f}): {'; '.join(weak)}"] if weak else []


def _fragile(figures: dict[str, Any]) -> list[str]:
    lines = []
    if figures["corruptions"]:
        measured = figures["corruptions"]
        rows = sorted(measured["rows"], key=lambda row: row["mean"]["balanced_accuracy"])[:LISTED]
        worst = ", ".join(f"{row['name']} {row['mean']['balanced_accuracy']:.3f}" for row in rows)
        lines.append(
            f"corrupted images: balanced accuracy falls from {measured['clean']['balanced_accuracy']:.3f} to "
            f"{measured['mean']['balanced_accuracy']:.3f} on average over severities 1 to 5 of "
            f"{len(measured['rows'])} corruptions ({measured['images']} images); worst: {worst}"
        )
    if figures["outliers"] and figures["outliers"]["refused"] is not None:
        kinds = sorted(figures["outliers"]["kinds"], key=lambda row: row["refused"])[:LISTED]
        told = ", ".join(f"{row['kind']} ({format_percent(row['refused'])})" for row in kinds)
        lines.append(f"images that are no lesions and are refused least often: {told}")
    return lines


def format_interval(one: Mapping[str, float | None]) -> str:
    """Return a figure with its interval's bounds, or what of them is defined."""
    if one["value"] is None or one["low"] is None:
        return format_figure(one["value"])
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
