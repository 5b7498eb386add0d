"""The evaluation report as one HTML file that loads nothing else: plots and gallery are inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.evaluation.data import SUBSET_NAMES
from train.report.gallery import Case
from train.report.html import data_url, encode_jpeg, page_environment
from train.report.plots import (
    plot_confusion_matrix,
    plot_corruptions,
    plot_curves,
    plot_outliers,
    plot_reliability,
    plot_selective,
)


def render_page(report: dict[str, Any], correct: list[Case], wrong: list[Case]) -> str:
    """Return the page. ``report`` is the tree of ``report.json``."""
    plots = {
        "confusion": plot_confusion_matrix(
            np.array(report["confusion_matrix"]), [row["code"] for row in report["classes"]]
        ),
        "curves": plot_curves(report),
        "reliability": plot_reliability(report["calibration"]),
        "selective": plot_selective(report["selective"]),
    }
    if report["corruptions"] is not None:
        plots["corruptions"] = plot_corruptions(report["corruptions"])
    if report["outliers"] is not None:
        plots["outliers"] = plot_outliers(report["outliers"])
    return (
        page_environment()
        .get_template("evaluation.html.j2")
        .render(
            report=report,
            demo=_demo(report),
            subset=SUBSET_NAMES[report["data"]["subset"]],
            plots={name: data_url(data, "image/svg+xml") for name, data in plots.items()},
            correct=[_case(case) for case in correct],
            wrong=[_case(case) for case in wrong],
        )
    )


def _demo(report: dict[str, Any]) -> str:
    if report["subject"]["demo"]:
        return "This model was trained on generated images."
    return "These images were generated." if report["data"]["demo"] else ""


def _case(case: Case) -> dict[str, Any]:
    return {
        "image_id": case.image_id,
        "truth": case.truth,
        "label": case.label,
        "confidence": case.confidence,
        "truth_probability": case.truth_probability,
        "image": data_url(encode_jpeg(case.side_by_side), "image/jpeg"),
    }
