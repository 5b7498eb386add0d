"""What an export is asked to do: one frozen dataclass, filled from the command line's flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Calibrator = Literal["auto", "min-max", "percentile", "mse", "entropy"]

FORMATS = ("onnx", "tflite")
PRECISIONS = ("fp32", "int8", "fp16", "dynamic")
DEFAULT_PRECISIONS = ("fp32", "int8")
TFLITE_ROUTES = ("litert-torch", "onnx2tf")
DEMO_GOAL = 1e-1
UNAVAILABLE = {("onnx", "dynamic")}
"""onnxruntime computes dynamically quantised convolutions many times slower than float ones, so nobody wants them."""


@dataclass(frozen=True)
class Tolerances:
    """How far a graph may be from the PyTorch model on the validation images.

    Shares are fractions 0..1. fp16 is held to what fp32 is held to, but for the probabilities' difference; dynamic
    range to what int8 is held to.
    """

    fp32_agreement: float = 0.999
    fp32_probability_difference: float = 1e-3
    fp16_probability_difference: float = 2e-2
    int8_agreement: float = 0.98
    accuracy_loss: float = 0.005
    balanced_accuracy_loss: float = 0.005
    recall_loss: float = 0.02
    recall_loss_images: int = 2
    fp32_explain_correlation: float = 0.999
    int8_explain_correlation: float = 0.95


@dataclass(frozen=True)
class ExportConfiguration:
    """One export. ``data`` is found through the run's folder when it is ``None``."""

    checkpoint: Path
    output: Path
    data: Path | None = None
    formats: tuple[str, ...] = FORMATS
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS
    calibration_images: int = 200
    selection_images: int = 150
    validation_images: int | None = None
    calibrator: Calibrator = "auto"
    int8_goal: float = 5e-4
    threads: int = 1
    compact: bool = False
    tflite_via: str = "litert-torch"
    compare_tflite_routes: bool = False
    qat: bool = False
    qat_steps: int = 200
    tolerances: Tolerances = field(default_factory=Tolerances)

    def goal(self, *, demo: bool) -> float:
        """Return the divergence in nats under which an int8 graph is good enough; a demo shall be quick above all."""
        return max(self.int8_goal, DEMO_GOAL) if demo else self.int8_goal

    def artefacts(self) -> list[tuple[str, str]]:
        """Return the (format, precision) pairs to write."""
        return [
            (format_name, precision)
            for format_name in self.formats
            for precision in self.precisions
            if (format_name, precision) not in UNAVAILABLE
        ]
