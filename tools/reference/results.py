"""The results page of the reference model, from the evaluation and the report in its bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.card.cross_validation import current_names

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "ham10000-resnet18"

INTRODUCTION = """# Results of the reference model

`models/ham10000-resnet18`, the model that comes with the repository. Everything here is read from its `evaluation.json`
and `report.json`; its model card, `README.md`, also describes its limits. Brackets: 95 % interval, percentile
bootstrap over lesions. What each number means: [metrics](../reference/metrics.md). Measured by `python -m export` and
`python -m export.card --bundle models/ham10000-resnet18 --data DATA`.
"""


def results_page() -> str:
    """Return the page in Markdown."""
    evaluation = json.loads((BUNDLE / "evaluation.json").read_text(encoding="utf-8"))
    report = json.loads((BUNDLE / "report.json").read_text(encoding="utf-8"))
    evaluations: dict[str, Any] = evaluation["evaluations"]
    first = next(iter(evaluations.values()))
    sections = [
        INTRODUCTION,
        _test_set(evaluations, first["data"]),
        _classes(first["classes"], next(iter(evaluations))),
        _malignancy(evaluations),
        _robustness(first),
        _cross_validation(current_names(evaluation["cross_validation"])),
        _parity(report),
    ]
    return "\n".join(sections)


def _test_set(evaluations: dict[str, Any], data: dict[str, Any]) -> str:
    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    rows = [
        [
            variant,
            *[_interval(one["summary"][name]) for name in metrics],
            _interval(one["calibration"]["after_intervals"]["expected_calibration_error"]),
        ]
        for variant, one in evaluations.items()
    ]
    head = ["graphs", *[name.replace("_", " ").replace("f1", "F1") for name in metrics], "calibration error"]
    return f"## Test set\n\nThe deployed graphs on {sum(data['counts'].values())} test images.\n\n{_table(head, rows)}"


def _classes(classes: list[dict[str, Any]], variant: str) -> str:
    metrics = ("sensitivity", "specificity", "precision", "f1", "auc")
    rows = [[f"`{one['code']}`", str(one["support"]), *[_interval(one[name]) for name in metrics]] for one in classes]
    head = ["class", "images", "sensitivity", "specificity", "precision", "F1", "AUC"]
    return f"## Each class ({variant})\n\n{_table(head, rows)}"


def _malignancy(evaluations: dict[str, Any]) -> str:
    rows = []
    for variant, one in evaluations.items():
        points = one["malignancy"]["sensitivity_at_specificity"]
        rows.append(
            [variant, _interval(one["malignancy"]["auc"]), *[_interval(point["sensitivity"]) for point in points]]
        )
    points = next(iter(evaluations.values()))["malignancy"]["sensitivity_at_specificity"]
    head = ["graphs", "AUC", *[f"sensitivity at {point['specificity']:.0%} specificity" for point in points]]
    return f"## Malignant against benign\n\n{_table(head, rows)}"


def _robustness(one: dict[str, Any]) -> str:
    corruptions, outliers = one["corruptions"], one["outliers"]
    rows = [["none", *_accuracies(corruptions["clean"])]]
    rows += [[row["name"], *_accuracies(row["mean"])] for row in corruptions["rows"]]
    rows.append(["mean of all corruptions", *_accuracies(corruptions["mean"])])
    table = _table(["corruption", "accuracy", "balanced accuracy", "calibration error"], rows)
    return (
        "## Corrupted images and other images\n\nOn a sample with the classes in equal proportion, mean over five "
        f"severities:\n\n{table}\nImages that are not dermoscopic: {outliers['rejected']:.1%} rejected "
        f"(AUC {outliers['auc']:.4f}), together with {outliers['false_positive_rate']:.2%} of the dermoscopic images.\n"
    )


def _cross_validation(folds: dict[str, Any]) -> str:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    rows = [
        [
            name.replace("_", " ").replace("f1", "F1"),
            f"{folds['mean'][name]:.3f} ± {folds['standard_deviation'][name]:.3f}",
            _interval(folds["pooled"][name]),
        ]
        for name in names
    ]
    table = _table(["metric", "mean ± standard deviation over the folds", "all predictions pooled"], rows)
    return (
        f"## Cross-validation\n\n{folds['folds']} folds of a shortened recipe ({folds['epochs']} epochs); see "
        f"[experiments](../experiments.md#cross-validation).\n\n{table}"
    )


def _parity(report: dict[str, Any]) -> str:
    rows = [
        [
            f"{chain['variant']} {chain['role']}",
            f"{chain['top1_agreement']:.2%}",
            f"{chain['max_probability_difference']:.2g}",
            f"{100 * chain['accuracy_change']:+.2f}",
            f"{100 * chain['balanced_accuracy_change']:+.2f}",
            f"{chain['size_bytes'] / 1e6:.1f} MB",
        ]
        for chain in report["chains"]
    ]
    head = [
        "graphs",
        "same label",
        "largest difference of a probability",
        "accuracy, points",
        "balanced accuracy, points",
    ]
    images = report["measured"]["images"]
    return f"## Graphs against PyTorch\n\nOn {images} validation images.\n\n{_table([*head, 'size'], rows)}"


def _accuracies(values: dict[str, float]) -> list[str]:
    return [f"{values[name]:.3f}" for name in ("accuracy", "balanced_accuracy", "expected_calibration_error")]


def _interval(value: dict[str, float | None]) -> str:
    """Show a value with its interval; ``null`` where the class or group has no such value."""
    if value["value"] is None:
        return "n/a"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
