"""The settings of ``python -m train.evaluate``: what to evaluate, on which images, and where the report goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_runtime.errors import DataError
from edge_runtime.vocabulary import VIEW_COUNTS, EngineChoice, Precision, ViewCount
from train.metrics.intervals import REPLICATES


class EvaluationConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``run``, ``checkpoint`` and ``bundle`` says what is evaluated; without any it is the last run."""

    run: Annotated[str, Meta(description="the run's best checkpoint", extra={"metavar": "NAME"})] | None = None
    checkpoint: Annotated[Path, Meta(description="this checkpoint", extra={"metavar": "FILE"})] | None = None
    bundle: Annotated[Path, Meta(description="this bundle, run as on the device", extra={"metavar": "DIR"})] | None = (
        None
    )
    engine: Annotated[EngineChoice, Meta(description="for --bundle: inference engine")] = "auto"
    precision: Annotated[
        Precision,
        Meta(description="for --bundle: the backbone's; fp32 without such graphs: weights.safetensors, in PyTorch"),
    ] = "int8"
    threads: Annotated[int, Meta(description="for --bundle: the engine's threads (default: all)", ge=1)] | None = None
    data: Annotated[Path, Meta(description="data folder (default: the run's own)", extra={"metavar": "DIR"})] | None = (
        None
    )
    subset: Annotated[
        Literal["test", "validation", "train", "all"],
        Meta(description="images to evaluate on, by the run's split", extra={"flag": "--split"}),
    ] = "test"
    split_file: (
        Annotated[Path, Meta(description="split.csv to use instead of the run's", extra={"metavar": "FILE"})] | None
    ) = None
    output: (
        Annotated[
            Path, Meta(description="folder for the report (default: beside the checkpoint)", extra={"metavar": "DIR"})
        ]
        | None
    ) = None
    runs_folder: Annotated[Path, Meta(description="where runs are", extra={"metavar": "DIR"})] = Path("runs")
    cache_folder: Annotated[Path, Meta(description="where decoded images are kept", extra={"metavar": "DIR"})] = Path(
        "data/cache"
    )
    gallery: Annotated[int, Meta(description="correct and wrong predictions to show, of each", ge=0)] = 12
    replicates: Annotated[
        int, Meta(description="bootstrap replicates of the intervals", ge=1, extra={"flag": "--bootstrap"})
    ] = REPLICATES
    corruption_images: Annotated[int, Meta(description="images to corrupt, 0 for none", ge=0)] = 200
    views: Annotated[
        ViewCount,
        Meta(
            description="average over N rotated and flipped views of each image; 8 without a number",
            extra={"flag": "--tta", "metavar": "N", "const": max(VIEW_COUNTS)},
        ),
    ] = 1

    def checkpoint_path(self) -> Path:
        """Return the checkpoint to evaluate. Raises :class:`DataError` when none was named and there is no run."""
        return self.checkpoint or self.runs_folder / (self.run or _last_run(self.runs_folder)) / "best.pt"


def _last_run(runs: Path) -> str:
    try:
        return (runs / "latest").read_text(encoding="utf-8").strip()
    except OSError:
        raise DataError(f"{runs / 'latest'}: found no run yet; use --run, --checkpoint or --bundle") from None
