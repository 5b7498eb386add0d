"""Settings of ``python -m edge_runtime bench``; apart from the command, so that its flags are known without numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_runtime.options import BundleOptions, Positive


class BenchOptions(BundleOptions, frozen=True, kw_only=True):
    """What is measured, how often, and what is printed."""

    threads: Annotated[Positive, Meta(description="engine threads")] = 1
    rounds: Annotated[Positive, Meta(description="measured rounds")] = 60
    peers: Annotated[
        bool,
        Meta(description="also cold start, memory, folder mode, and other engines on the same model, where installed"),
    ] = False
    plain: (
        Annotated[
            Path,
            Meta(
                description="also compare with the plain networks that `python -m tools.plain_networks` wrote here",
                extra={"metavar": "FOLDER"},
            ),
        ]
        | None
    ) = None
    profile: Annotated[
        bool, Meta(description="also which kinds of operators onnxruntime spends its time in, where it is installed")
    ] = False
    check: Annotated[bool, Meta(description="exit with status 1 when a ratio misses its limit")] = False
    json: Annotated[bool, Meta(description="print one JSON object")] = False
