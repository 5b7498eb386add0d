"""Keeping the converters' log output off the screen, and showing the end of it when one fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime.captured_output import captured_output
from edge_runtime.errors import ExportError

TAIL_CHARACTERS = 2000


@contextmanager
def capture_output(step: str) -> Iterator[None]:
    """Capture standard output and error, C++'s included, while ``step`` runs.

    A failure becomes an :class:`ExportError` that names the step; the end of the output follows on stderr when the
    environment variable ``DERMEDGE_VERBOSE`` is set.
    """
    failure: Exception | None = None
    with captured_output(1, 2) as captured:
        try:
            yield
        except Exception as error:  # converters raise types of many libraries
            failure = error
    if failure is None:
        return
    if os.environ.get("DERMEDGE_VERBOSE"):
        print(captured.data.decode(errors="replace")[-TAIL_CHARACTERS:], file=sys.stderr)
    if isinstance(failure, ExportError):
        raise failure
    reason = str(failure).strip().splitlines()[0] if str(failure).strip() else type(failure).__name__
    raise ExportError(f"{step} failed: {reason}") from failure
