"""The card's section on what the model does badly, read off its metrics."""

from __future__ import annotations

from typing import Any

from export.card.results import format_interval
from train.report.html import format_percent

LISTED = 5
"""Confusions, corruptions and kinds of other images that are listed by name."""


def weaknesses_section(evaluations: dict[str, Any]) -> str:
    """Return the section; nothing is claimed where nothing was measured."""
    if not evaluations:
        return "## Weaknesses\n\nNot measured yet: the bundle has not been evaluated on a test set.\n\n"
    metrics = next(iter(evaluations.values()))
    lines = [*_weak_classes(metrics), *_confusions(metrics), *_weak_groups(metrics), *_fragile(metrics)]
    return "## Weaknesses\n\n" + "".join(f"- {line}\n" for line in lines) + "\n"


def _weak_classes(metrics: dict[str, Any]) -> list[str]:
    rows = [row for row in metrics["classes"] if (row["sensitivity"]["value"] or 0.0) < 1 and row["support"]]
    weakest = sorted(rows, key=lambda row: row["sensitivity"]["value"])[:3]
    return [
        f"{row['name'].lower()} (`{row['code']}`): sensitivity {format_interval(row['sensitivity'])} on "
        f"{row['support']} images"
        for row in weakest
    ]


def _confusions(metrics: dict[str, Any]) -> list[str]:
    codes = [row["code"] for row in metrics["classes"]]
    pairs = [
        (count, sum(row), codes[truth], codes[predicted])
        for truth, row in enumerate(metrics["confusion_matrix"])
        for predicted, count in enumerate(row)
        if truth != predicted and count
    ]
    most = sorted(pairs, reverse=True)[:LISTED]
    told = "; ".join(
        f"`{truth}` predicted as `{other}` {count} of {total} times" for count, total, truth, other in most
    )
    return [f"most frequent confusions: {told}"] if told else []


def _weak_groups(metrics: dict[str, Any]) -> list[str]:
    """Groups whose whole interval lies below the overall accuracy, which chance alone seldom explains."""
    overall, small = metrics["summary"]["accuracy"]["value"], metrics["subgroups"]["small_group"]
    weak = [
        f"{row['attribute']} {row['value']} ({format_interval(row['accuracy'])} on {row['images']} images)"
        for row in metrics["subgroups"]["rows"]
        if row["images"] >= small and row["accuracy"]["high"] is not None and row["accuracy"]["high"] < overall
    ]
    return [f"accuracy below that of all images ({overall:.3f}): {'; '.join(weak)}"] if weak else []


def _fragile(metrics: dict[str, Any]) -> list[str]:
    lines = []
    if metrics["corruptions"]:
        measured = metrics["corruptions"]
        rows = sorted(measured["rows"], key=lambda row: row["mean"]["balanced_accuracy"])[:LISTED]
        worst = ", ".join(f"{row['name']} {row['mean']['balanced_accuracy']:.3f}" for row in rows)
        lines.append(
            f"corrupted images: balanced accuracy falls from {measured['clean']['balanced_accuracy']:.3f} to "
            f"{measured['mean']['balanced_accuracy']:.3f} on average over severities 1 to 5 of "
            f"{len(measured['rows'])} corruptions ({measured['images']} images); worst: {worst}"
        )
    if metrics["outliers"] and metrics["outliers"]["rejected"] is not None:
        kinds = sorted(metrics["outliers"]["kinds"], key=lambda row: row["rejected"])[:LISTED]
        told = ", ".join(f"{row['kind']} ({format_percent(row['rejected'])})" for row in kinds)
        lines.append(f"images without a lesion that are rejected least often: {told}")
    return lines
