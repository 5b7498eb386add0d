"""Everything that a report contains, as one tree of plain values: ``report.json`` stores it, the page shows it."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.version import __version__
from train.evaluation.data import EvaluationData
from train.evaluation.subject import SubjectFacts
from train.metrics.classification import (
    FIXED_SPECIFICITIES,
    calibration_bins,
    class_metrics,
    confusion_matrix,
    malignancy_score,
    sensitivity_at_specificity,
    summary_metrics,
)
from train.metrics.intervals import CONFIDENCE_LEVEL, Interval, bootstrap_intervals
from train.metrics.subgroups import SMALL_GROUP, subgroup_table
from train.metrics.temperature import apply_temperature, selective_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPORT_VERSION = 2
SUMMARY = ("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1")
PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision")
CURVE_POINTS = 400
"""Curves are thinned to about so many points; metrics are computed before that."""


def build_metrics(
    facts: SubjectFacts, data: EvaluationData, logits: NDArray[np.float64], *, replicates: int
) -> dict[str, Any]:
    """Return the report's tree from calibrated logits float64 (N, C); undefined metrics are ``None``.

    ``replicates`` is the number of bootstrap replicates of the intervals.
    """
    truth, probabilities = data.truth, apply_temperature(logits)
    lesions = [record.lesion_id for record in data.records]
    intervals = bootstrap_intervals(truth, probabilities, lesions, data.classes, replicates=replicates)
    subgroups = subgroup_table(data.records, truth, probabilities, data.classes, replicates=min(300, replicates))
    tree = {
        "report_version": REPORT_VERSION,
        "code_version": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "subject": _subject(facts),
        "data": _data(data),
        "intervals": {
            "method": "percentile bootstrap over lesions",
            "level": CONFIDENCE_LEVEL,
            "replicates": replicates,
        },
        "summary": {name: intervals[name] for name in SUMMARY},
        "classes": _classes(truth, probabilities, data.classes, intervals),
        "confusion_matrix": confusion_matrix(truth, probabilities.argmax(axis=1), len(data.classes)).tolist(),
        "calibration": _calibration(truth, logits, facts.temperature, intervals),
        "malignancy": _malignancy(truth, probabilities, data.classes, intervals),
        "selective": _selective(truth, probabilities, facts),
        "subgroups": {"small_group": SMALL_GROUP, "rows": subgroups},
        "views": 1,
        "corruptions": None,
        "outliers": None,
    }
    return plain(tree)


def plain(value: Any) -> Any:
    """Return ``value`` with dataclasses as dictionaries, arrays as lists and ``nan`` as ``None``, ready for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _subject(facts: SubjectFacts) -> dict[str, Any]:
    return {
        "title": facts.title,
        "source": str(facts.source),
        "input_size": facts.input_size,
        "demo": facts.demo,
        "trained_on": facts.data_name,
        "licence": facts.licence,
        "split_hash": facts.split_hash,
        "patient_metadata": facts.metadata_spec is not None,
        "details": facts.details,
    }


def _data(data: EvaluationData) -> dict[str, Any]:
    counts = Counter(record.label for record in data.records)
    return {
        "folder": str(data.folder),
        "subset": data.subset,
        "demo": data.demo,
        "images": len(data.records),
        "lesions": len({record.lesion_id for record in data.records}),
        "unreadable": list(data.left_out),
        "counts": {code: counts[index] for index, code in enumerate(data.classes.codes)},
    }


def _classes(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], classes: ClassSet, intervals: dict[str, Interval]
) -> list[dict[str, Any]]:
    rows = []
    of_class = class_metrics(truth, probabilities, classes.codes)
    for index, (lesion_class, metrics) in enumerate(zip(classes.classes, of_class, strict=True)):
        row: dict[str, Any] = {
            "code": lesion_class.code,
            "name": lesion_class.name,
            "malignant": lesion_class.malignant,
            "support": metrics.support,
        }
        row |= {name: intervals[f"{name}/{lesion_class.code}"] for name in PER_CLASS}
        row["curves"] = None
        if 0 < metrics.support < len(truth):
            row["curves"] = _curves(truth == index, probabilities[:, index])
        rows.append(row)
    return rows


def _curves(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    false_positive_rate, sensitivity, _ = roc_curve(positive, scores)
    precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
    return {
        "roc": {"false_positive_rate": _thinned(false_positive_rate), "sensitivity": _thinned(sensitivity)},
        "precision_recall": {"recall": _thinned(recall), "precision": _thinned(precision)},
    }


def _calibration(
    truth: NDArray[np.int64], logits: NDArray[np.float64], temperature: float, intervals: dict[str, Interval]
) -> dict[str, Any]:
    """Return the metrics of calibration; "before" is the network's own softmax, with the temperature undone."""

    names = ("expected_calibration_error", "brier_score", "log_loss")

    def assess(probabilities: NDArray[np.float64]) -> dict[str, Any]:
        metrics = summary_metrics(truth, probabilities)
        return {**{name: metrics[name] for name in names}, "bins": calibration_bins(truth, probabilities)}

    return {
        "temperature": temperature,
        "before": assess(apply_temperature(logits * temperature)),
        "after": assess(apply_temperature(logits)),
        "after_intervals": {name: intervals[name] for name in names},
    }


def _malignancy(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], classes: ClassSet, intervals: dict[str, Interval]
) -> dict[str, Any]:
    malignant = classes.malignant_indices
    positive, scores = np.isin(truth, malignant), malignancy_score(probabilities, malignant)
    points = []
    for specificity in FIXED_SPECIFICITIES:
        _, threshold = sensitivity_at_specificity(positive, scores, specificity)
        name = f"malignancy_sensitivity/{specificity:.2f}"
        points.append({"specificity": specificity, "sensitivity": intervals[name], "threshold": threshold})
    return {
        "malignant": int(positive.sum()),
        "auc": intervals["malignancy_auc"],
        "sensitivity_at_specificity": points,
        "curves": _curves(positive, scores) if 0 < positive.sum() < len(positive) else None,
    }


def _selective(truth: NDArray[np.int64], probabilities: NDArray[np.float64], facts: SubjectFacts) -> dict[str, Any]:
    coverage, accuracy = selective_curve(truth, probabilities)
    chosen = None
    if facts.not_sure_below is not None:
        kept = probabilities.max(axis=1) >= facts.not_sure_below
        correct = probabilities.argmax(axis=1) == truth
        chosen = {
            "not_sure_below": facts.not_sure_below,
            "intended_coverage": facts.coverage,
            "coverage": kept.mean(),
            "accuracy": correct[kept].mean() if kept.any() else float("nan"),
            "accuracy_of_withheld": correct[~kept].mean() if (~kept).any() else float("nan"),
        }
    return {"coverage": _thinned(coverage), "accuracy": _thinned(accuracy), "threshold": chosen}


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) <= CURVE_POINTS:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).round().astype(int))]
