"""Capturing what C++ libraries write to the process's own stdout and stderr, below Python's ``sys.stdout``.

Inference engines and converters log to file descriptors 1 and 2 from C++ that reads no environment variable and exports
no switch. The descriptors are pointed at memory (a temporary file where the system has no memory files) and restored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import IO

_LOCK = RLock()
"""Descriptors belong to the whole process: two threads must not swap them at the same time."""


class CapturedOutput:
    """What was written inside the block, as ``data``; empty until the block has ended."""

    data: bytes = b""


@contextmanager
def captured_output(*descriptors: int) -> Iterator[CapturedOutput]:
    """Capture what is written to these file descriptors (1 for stdout, 2 for stderr) inside the block.

    A descriptor that is closed stays closed. Other threads that capture output wait for the end of the block.
    """
    captured = CapturedOutput()
    with _LOCK, ExitStack() as stack:
        file = stack.enter_context(_temporary_file())
        saved: dict[int, int] = {}
        for descriptor in descriptors:
            try:
                saved[descriptor] = os.dup(descriptor)
            except OSError:  # closed
                continue
            stack.callback(os.close, saved[descriptor])
        _flush_streams()
        for descriptor in saved:
            os.dup2(file.fileno(), descriptor)
        try:
            yield captured
        finally:
            _flush_streams()
            for descriptor, original in saved.items():
                os.dup2(original, descriptor)
            file.seek(0)
            captured.data = file.read()


@contextmanager
def without_information_lines() -> Iterator[None]:
    """Drop lines that start with ``INFO:`` from what is written to stderr inside the block; pass on all others.

    LiteRT announces its XNNPACK delegate in such a line whenever it loads a graph.
    """
    captured = CapturedOutput()
    try:
        with captured_output(2) as captured:
            yield
    finally:
        kept = [line for line in captured.data.splitlines(keepends=True) if not line.startswith(b"INFO:")]
        if kept:
            os.write(2, b"".join(kept))


def _temporary_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("output"), "w+b")
    import tempfile  # slow to import, and Linux does not need it

    return tempfile.TemporaryFile()


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
