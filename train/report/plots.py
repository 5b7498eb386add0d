"""The report's plots, drawn with matplotlib's object interface: no global state, no display needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#444444", "#56b4e9")
"""Colours of the classes in turn, distinguishable with colour-blindness (Okabe and Ito)."""

_LINES = ("-", "-.", ":")
"""Each round of the colours has its own line."""


def encode_figure(figure: Figure, image_format: str) -> bytes:
    """Return the figure as the bytes of an "svg" or "png" file, the same bytes for the same data."""
    buffer = io.BytesIO()
    # without a fixed salt and date, matplotlib writes random ids and the time of day
    with matplotlib.rc_context({"svg.hashsalt": "dermedge", "svg.fonttype": "none"}):
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(buffer, format=image_format, dpi=150, bbox_inches="tight", metadata=metadata)
    return buffer.getvalue()


def plot_confusion_matrix(matrix: NDArray[np.int64], codes: Sequence[str], image_format: str = "svg") -> bytes:
    """Draw the counts, shaded by the share of each row (truth), as a file's bytes."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = max(4.4, 0.63 * len(codes))
    figure = Figure(figsize=(side + 0.4, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{matrix[row, column]}\n{shares[row, column]:.0%}" if matrix[row, column] else "·"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(codes)), codes, rotation=45 if max(map(len, codes)) > 6 else 0)
    axes.set_yticks(range(len(codes)), codes)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.spines[:].set_visible(False)
    return encode_figure(figure, image_format)


def plot_curves(metrics: dict[str, Any], image_format: str = "svg") -> bytes:
    """Draw the ROC and precision-recall curves of every class and of malignant against benign, side by side."""
    figure = Figure(figsize=(10.5, 4.6))
    roc, precision_recall = figure.subplots(1, 2)
    rows = [(row["code"], row["curves"], row["auc"], row["average_precision"]) for row in metrics["classes"]]
    for index, (code, curves, auc, average_precision) in enumerate(rows):
        if curves is None:
            continue
        line: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "lw": 1.4}
        line["ls"] = _LINES[index // len(COLOURS) % len(_LINES)]
        label = f"{code} {auc['value']:.3f}"
        roc.plot(curves["roc"]["false_positive_rate"], curves["roc"]["sensitivity"], label=label, **line)
        points = curves["precision_recall"]
        label = f"{code} {average_precision['value']:.3f}"
        precision_recall.plot(points["recall"], points["precision"], label=label, **line)
    malignancy = metrics["malignancy"]
    if malignancy["curves"] is not None:
        points, label = malignancy["curves"]["roc"], f"malignant {malignancy['auc']['value']:.3f}"
        roc.plot(points["false_positive_rate"], points["sensitivity"], color="black", ls="--", lw=1.8, label=label)
    roc.plot([0, 1], [0, 1], color="#bbbbbb", lw=0.8)
    roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC (area)")
    precision_recall.set(xlabel="recall", ylabel="precision", title="Precision and recall (average precision)")
    for axes, place in ((roc, "lower right"), (precision_recall, "lower left")):
        _tidy(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc=place, fontsize=8, frameon=True, framealpha=0.85)
    return encode_figure(figure, image_format)


def plot_reliability(calibration: dict[str, Any], image_format: str = "svg") -> bytes:
    """Draw accuracy against confidence, before and after temperature scaling, over the number of images."""
    figure = Figure(figsize=(8.4, 4.4))
    for axes, (name, title) in zip(figure.subplots(1, 2), (("before", "Before"), ("after", "After")), strict=True):
        bins = [one for one in calibration[name]["bins"] if one["count"]]
        total = sum(one["count"] for one in bins)
        width = 1 / len(calibration[name]["bins"])
        middles = [(one["lower"] + one["upper"]) / 2 for one in bins]
        axes.bar(middles, [one["count"] / total for one in bins], width, color="#d9e2ec", label="share of images")
        axes.plot([0, 1], [0, 1], color="#888888", lw=0.8, ls="--")
        axes.plot(
            [one["confidence"] for one in bins], [one["accuracy"] for one in bins], "o-", color=COLOURS[0], ms=4,
            label="accuracy",
        )  # fmt: skip
        error = calibration[name]["expected_calibration_error"]
        axes.set(xlabel="confidence", title=f"{title} temperature scaling: ECE {error:.3f}")
        axes.legend(loc="upper left", fontsize=8)
        _tidy(axes)
    return encode_figure(figure, image_format)


def plot_selective(selective: dict[str, Any], image_format: str = "svg") -> bytes:
    """Draw the accuracy on the most confident images against their share, and the "not sure" threshold."""
    figure = Figure(figsize=(5.2, 4.0))
    axes = figure.subplots()
    axes.plot(selective["coverage"], selective["accuracy"], color=COLOURS[0], lw=1.6)
    chosen = selective["threshold"]
    if chosen is not None and chosen["accuracy"] is not None:
        axes.plot(chosen["coverage"], chosen["accuracy"], "o", color=COLOURS[4], label="the model's own threshold")
        axes.legend(loc="lower left", fontsize=8)
    axes.set(xlabel="coverage (share of images not withheld)", ylabel="accuracy on these images")
    lowest = min(value for value in selective["accuracy"] if value is not None)
    _tidy(axes)
    axes.set_ylim(max(0.0, lowest - 0.1), 1.01)
    return encode_figure(figure, image_format)


def plot_corruptions(corruptions: dict[str, Any], image_format: str = "svg") -> bytes:
    """Draw balanced accuracy against severity, one line per corruption; severity 0 is the clean images."""
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    clean = corruptions["clean"]["balanced_accuracy"]
    palette = matplotlib.colormaps["tab20"]
    for index, row in enumerate(corruptions["rows"]):
        values = [clean, *(one["balanced_accuracy"] for one in row["severities"])]
        axes.plot(range(len(values)), values, "o-", ms=3, lw=1.2, color=palette(index % 20), label=row["name"])
    axes.set(xlabel="severity", ylabel="balanced accuracy")
    _tidy(axes)
    axes.set_xlim(-0.1, 5.1)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return encode_figure(figure, image_format)


def plot_outliers(outliers: dict[str, Any], image_format: str = "svg") -> bytes:
    """Draw the distribution of the outlier score on lesions and on each kind of other image."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    rows = [("lesions", outliers["lesions"]["scores"]), *((row["kind"], row["scores"]) for row in outliers["kinds"])]
    axes.boxplot(
        [scores for _, scores in rows],
        orientation="horizontal",
        tick_labels=[name for name, _ in rows],
        sym=".",
        widths=0.6,
        medianprops={"color": COLOURS[4]},
    )
    if outliers["not_lesion_above"] is not None:
        axes.axvline(outliers["not_lesion_above"], color="#444444", ls="--", lw=1)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set(xlabel="outlier score, logarithmic (dashed: threshold)")
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return encode_figure(figure, image_format)


def _tidy(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
