"""What an export is asked to do: one settings struct, of which ``python -m export`` makes its flags and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from edge_runtime.vocabulary import GraphFormat, Precision

Calibrator = Literal["auto", "min-max", "percentile", "mse", "entropy"]
TFLiteRoute = Literal["litert-torch", "onnx2tf"]

FORMATS: tuple[GraphFormat, ...] = get_args(GraphFormat)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "fp16", "dynamic")
TFLITE_ROUTES: tuple[TFLiteRoute, ...] = get_args(TFLiteRoute)
DEMO_GOAL = 1e-1

ImageCount = Annotated[int, Meta(ge=2)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Distance = Annotated[float, Meta(ge=0)]
Correlation = Annotated[float, Meta(ge=-1, le=1)]


def _gate(name: str, description: str) -> Meta:
    """Describe a tolerance, whose flag says that it is one."""
    return Meta(description=description, extra={"flag": f"--tolerance-{name.replace('_', '-')}"})


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """How far a graph may be from the PyTorch model on the validation images.

    Losses and agreements are fractions 0..1. fp16 is held to the tolerances of fp32 except for the difference of
    probabilities; dynamic range to those of int8.
    """

    fp32_agreement: Annotated[
        Fraction, _gate("fp32_agreement", "fp32 and fp16: least fraction of images with the same prediction")
    ] = 0.999
    fp32_probability_difference: Annotated[
        Distance, _gate("fp32_probability_difference", "fp32: largest difference of any probability")
    ] = 1e-3
    fp16_probability_difference: Annotated[
        Distance, _gate("fp16_probability_difference", "fp16: largest difference of any probability")
    ] = 2e-2
    int8_agreement: Annotated[
        Fraction, _gate("int8_agreement", "int8 and dynamic: least fraction of images with the same prediction")
    ] = 0.98
    accuracy_loss: Annotated[Fraction, _gate("accuracy_loss", "largest loss of accuracy")] = 0.005
    balanced_accuracy_loss: Annotated[
        Fraction, _gate("balanced_accuracy_loss", "largest loss of balanced accuracy")
    ] = 0.005
    recall_loss: Annotated[Fraction, _gate("recall_loss", "largest loss of a class's recall")] = 0.02
    recall_loss_images: Annotated[
        Count, _gate("recall_loss_images", "images that any class may lose, however few it has")
    ] = 2
    fp32_explain_correlation: Annotated[
        Correlation,
        _gate("fp32_explain_correlation", "fp32 and fp16: least mean correlation of the class-activation maps"),
    ] = 0.999
    int8_explain_correlation: Annotated[
        Correlation,
        _gate("int8_explain_correlation", "int8 and dynamic: least mean correlation of the class-activation maps"),
    ] = 0.95


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One export, but for its tolerances. Formats and precisions are kept in a fixed order, each once, always fp32."""

    output: Annotated[Path, Meta(description="bundle to write; an old one is replaced", extra={"metavar": "FOLDER"})]
    checkpoint: (
        Annotated[Path, Meta(description="checkpoint in its run folder (best.pt)", extra={"metavar": "FILE"})] | None
    ) = None
    bundle: (
        Annotated[
            Path,
            Meta(
                description="instead of a checkpoint, a bundle with weights.safetensors (then name the --data)",
                extra={"metavar": "FOLDER"},
            ),
        ]
        | None
    ) = None
    data: Annotated[
        Path | None,
        Meta(description="data folder (default: the one named in the run's data.json)", extra={"metavar": "FOLDER"}),
    ] = None
    formats: Annotated[tuple[GraphFormat, ...], Meta(min_length=1, description="file formats to write")] = FORMATS
    precisions: Annotated[
        tuple[Precision, ...],
        Meta(description="precisions to write; fp32 is always among them, and dynamic is TFLite's alone"),
    ] = ("fp32", "int8")
    calibration_images: Annotated[ImageCount, Meta(description="training images that int8 ranges are measured on")] = (
        200
    )
    selection_images: Annotated[ImageCount, Meta(description="other training images that choose the int8 recipe")] = 150
    validation_images: Annotated[
        ImageCount | None, Meta(description="check the graphs on this many validation images only (default: all)")
    ] = None
    calibrator: Annotated[Calibrator, Meta(description="how int8 ranges are chosen; auto compares all")] = "auto"
    int8_goal: Annotated[
        Distance,
        Meta(
            description="costlier int8 recipes are tried while the mean divergence from the float network's "
            "probabilities is above this",
            extra={"metavar": "NATS"},
        ),
    ] = 5e-4
    qat: Annotated[
        bool, Meta(description="where no recipe reaches the goal, fine-tune the weights for int8 and try again")
    ] = False
    qat_steps: Annotated[int, Meta(ge=1, description="batches of 16 calibration images to fine-tune on")] = 200
    tflite_via: Annotated[
        TFLiteRoute, Meta(description="converter of the TFLite files; for onnx2tf run `make setup-onnx2tf` once")
    ] = "litert-torch"
    compare_tflite_routes: Annotated[
        bool, Meta(description="convert by the other route too, and put the results of both into report.json")
    ] = False
    compact: Annotated[
        bool, Meta(description="after measuring, keep only what the int8 variants need: about 23 MB for resnet18")
    ] = False
    publish: Annotated[bool, Meta(description="refuse to export from a git tree with uncommitted changes")] = False
    threads: Annotated[int, Meta(ge=1, description="CPU threads")] = 2

    def __post_init__(self) -> None:
        """Put formats and precisions in order."""
        formats = tuple(name for name in FORMATS if name in self.formats)
        precisions = tuple(name for name in PRECISIONS if name in {"fp32", *self.precisions})
        msgspec.structs.force_setattr(self, "formats", formats)
        msgspec.structs.force_setattr(self, "precisions", precisions)

    def goal(self, *, demo: bool) -> float:
        """Return the divergence in nats under which an int8 graph is good enough; for a demo, being quick matters."""
        return max(self.int8_goal, DEMO_GOAL) if demo else self.int8_goal


class ExportConfiguration(ExportSettings, frozen=True, kw_only=True):
    """One export with its tolerances. ``data`` is found through the run's folder when it is ``None``."""

    tolerances: Tolerances = Tolerances()
