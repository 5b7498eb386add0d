"""The report's plots, drawn with matplotlib's object interface: no global state, no display needed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edge_runtime.classes import CLASS_CODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#444444", "#56b4e9")
"""One colour per class, distinguishable with colour-blindness (Okabe and Ito)."""


def encode_figure(figure: Figure, image_format: str) -> bytes:
    """Return the figure as the bytes of an "svg" or "png" file, the same bytes for the same data."""
    buffer = io.BytesIO()
    # without a fixed salt and date, matplotlib writes random ids and the time of day
    with matplotlib.rc_context({"svg.hashsalt": "dermedge", "svg.fonttype": "none"}):
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(buffer, format=image_format, dpi=150, bbox_inches="tight", metadata=metadata)
    return buffer.getvalue()


def plot_confusion_matrix(matrix: NDArray[np.int64], image_format: str = "svg") -> bytes:
    """Draw the counts, shaded by the share of each row (truth), as a file's bytes."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    figure = Figure(figsize=(4.8, 4.4))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{matrix[row, column]}\n{shares[row, column]:.0%}" if matrix[row, column] else "·"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(CLASS_CODES)), CLASS_CODES)
    axes.set_yticks(range(len(CLASS_CODES)), CLASS_CODES)
    axes.set(xlabel="answer", ylabel="truth")
    axes.spines[:].set_visible(False)
    return encode_figure(figure, image_format)
