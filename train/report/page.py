"""The report as one HTML file that needs no other: plots and gallery are inside, nothing is fetched."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from train.report.gallery import Case
from train.report.plots import (
    plot_confusion_matrix,
    plot_corruptions,
    plot_curves,
    plot_outliers,
    plot_reliability,
    plot_selective,
)

TEMPLATES = Path(__file__).parent / "templates"


def render_page(figures: dict[str, Any], right: list[Case], wrong: list[Case]) -> str:
    """Return the page of a report. ``figures`` is the tree of ``report.json``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"figure": format_figure, "percent": format_percent}
    plots = {
        "confusion": plot_confusion_matrix(np.array(figures["confusion_matrix"])),
        "curves": plot_curves(figures),
        "reliability": plot_reliability(figures["calibration"]),
        "selective": plot_selective(figures["selective"]),
    }
    if figures["corruptions"] is not None:
        plots["corruptions"] = plot_corruptions(figures["corruptions"])
    if figures["outliers"] is not None:
        plots["outliers"] = plot_outliers(figures["outliers"])
    return environment.get_template("report.html.j2").render(
        report=figures,
        plots={name: data_url(data, "image/svg+xml") for name, data in plots.items()},
        right=[_case(case) for case in right],
        wrong=[_case(case) for case in wrong],
    )


def data_url(data: bytes, media_type: str) -> str:
    """Return the bytes as a URL that carries them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def format_figure(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` decimals, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_percent(value: float | None) -> str:
    """Return a share as a percentage, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def _case(case: Case) -> dict[str, Any]:
    return {
        "image_id": case.image_id,
        "truth": case.truth,
        "label": case.label,
        "confidence": case.confidence,
        "truth_probability": case.truth_probability,
        "image": data_url(encode_jpeg(case.side_by_side), "image/jpeg"),
    }


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
