"""The most confident correct and wrong predictions, each image beside its Grad-CAM overlay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.imaging.overlay import render_side_by_side
from train.evaluation.data import EvaluationData
from train.evaluation.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAPTION_HEIGHT = 34
_MARGIN = 6
_CORRECT, _WRONG = "#1a7f37", "#b42318"


@dataclass(frozen=True)
class Case:
    """One image of the gallery beside its overlay, with its label and the prediction."""

    image_id: str
    truth: str
    label: str
    confidence: float
    truth_probability: float
    side_by_side: Image.Image

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.label == self.truth


def choose_cases(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], correct: int, wrong: int
) -> tuple[list[int], list[int]]:
    """Return the positions of the most confident correct predictions, the classes in turn, and of the wrong ones.

    ``truth`` (N,) and ``probabilities`` (N, C) are in class order; ``correct`` and ``wrong`` are the most to return.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    mistakes = [int(index) for index in order if predicted[index] != truth[index]]
    by_class = [[int(i) for i in order if predicted[i] == truth[i] == label] for label in range(probabilities.shape[1])]
    ranked = sorted(
        (rank, label, index) for label, members in enumerate(by_class) for rank, index in enumerate(members)
    )
    return [index for _, _, index in ranked[:correct]], mistakes[:wrong]


def make_cases(
    subject: Subject, data: EvaluationData, probabilities: NDArray[np.float64], positions: list[int]
) -> list[Case]:
    """Explain the predicted class of each chosen image."""
    cases = []
    for index in positions:
        record, label = data.records[index], int(probabilities[index].argmax())
        image_hwc = np.ascontiguousarray(data.images[index])
        class_activation_map = subject.explain(image_hwc, record, label)
        cases.append(
            Case(
                image_id=record.image_id,
                truth=data.classes.codes[record.label],
                label=data.classes.codes[label],
                confidence=float(probabilities[index, label]),
                truth_probability=float(probabilities[index, record.label]),
                side_by_side=render_side_by_side(image_hwc, class_activation_map),
            )
        )
    return cases


def render_gallery(correct: list[Case], wrong: list[Case], columns: int = 4) -> Image.Image:
    """Return one image of all cases: the correct predictions first, then the wrong ones, each with its caption."""
    groups = [cases for cases in (correct, wrong) if cases]
    if not groups:
        return Image.new("RGB", (1, 1), "white")
    width, height = groups[0][0].side_by_side.size
    cell_width, cell_height = width + _MARGIN, height + CAPTION_HEIGHT
    rows = [cases[start : start + columns] for cases in groups for start in range(0, len(cases), columns)]
    sheet = Image.new("RGB", (columns * cell_width, len(rows) * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for row, cases in enumerate(rows):
        for column, case in enumerate(cases):
            x, y = column * cell_width, row * cell_height
            sheet.paste(case.side_by_side, (x, y + CAPTION_HEIGHT))
            colour = _CORRECT if case.correct else _WRONG
            caption = f"{case.label} {case.confidence:.0%}" + ("" if case.correct else f", truth {case.truth}")
            draw.text((x + 4, y + 8), f"{caption}   {case.image_id}", fill=colour, font=font)
    return sheet
