"""Keeping the converters' chatter off the screen, and showing the end of it when one fails."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime.errors import ExportError

TAIL_CHARACTERS = 2000


@contextmanager
def capture_output(step: str) -> Iterator[None]:
    """Send standard output and error, C++'s included, to a temporary file while ``step`` runs.

    A failure becomes an :class:`ExportError` that names the step; the end of the output follows on stderr when the
    environment variable ``DERMEDGE_VERBOSE`` is set.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # converters raise types of many libraries
            failure = error
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, target)
                os.close(descriptor)
        if failure is not None:
            if os.environ.get("DERMEDGE_VERBOSE"):
                log.seek(0)
                print(log.read().decode(errors="replace")[-TAIL_CHARACTERS:], file=sys.stderr)
            if isinstance(failure, ExportError):
                raise failure
            reason = str(failure).strip().splitlines()[0] if str(failure).strip() else type(failure).__name__
            raise ExportError(f"{step} failed: {reason}") from failure
