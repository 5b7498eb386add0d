"""The settings that several device commands share, as bases of each command's own struct.

msgspec structs cannot have two bases, so they form a chain: bundle → classifier → patient → output lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_runtime.vocabulary import EngineChoice, OutputFormat, Precision, ViewCount

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]


class BundleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle a command reads."""

    bundle: Annotated[
        Path | None,
        Meta(
            description="bundle to use (default: $DERMEDGE_BUNDLE, else the newest under models/)",
            extra={"metavar": "DIR"},
        ),
    ] = None


class ClassifierOptions(BundleOptions, frozen=True, kw_only=True):
    """How a command loads the bundle."""

    engine: Annotated[EngineChoice, Meta(description="inference engine")] = "auto"
    precision: Annotated[Precision, Meta(description="precision of the backbone")] = "int8"
    views: Annotated[
        ViewCount,
        Meta(
            description="test-time augmentation: average this many rotated and flipped views, at as many times the cost"
        ),
    ] = 1
    threads: Annotated[Positive | None, Meta(description="CPUs to use (default: all)")] = None


class PatientOptions(ClassifierOptions, frozen=True, kw_only=True):
    """What is known of the patient, for models that take it."""

    age: Annotated[
        float | None, Meta(description="patient's age in years, for models that take it", extra={"metavar": "YEARS"})
    ] = None
    sex: Annotated[str | None, Meta(description="patient's sex, for models that take it")] = None
    site: Annotated[str | None, Meta(description="anatomical site, for models that take it")] = None


class LineOptions(PatientOptions, frozen=True, kw_only=True):
    """What predictions are printed as."""

    format: Annotated[OutputFormat, Meta(description="output for people or for programs")] = "text"
    json: Annotated[bool, Meta(description="one JSON object per image and line: short for --format jsonl")] = False

    @property
    def line_format(self) -> OutputFormat:
        """The format that ``format`` and ``json`` ask for."""
        return "jsonl" if self.json else self.format
