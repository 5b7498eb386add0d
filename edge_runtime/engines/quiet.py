"""Keeps an engine's chatter off the terminal: LiteRT announces its XNNPACK delegate on the process's stderr.

The message comes from C++ that reads no environment variable and exports no switch, so stderr's file descriptor goes
to memory while the first graph is loaded; what is not marked as mere information is written out again afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
"""The descriptor is the whole process's: two threads must not swap it at the same time."""


@contextmanager
def without_information_lines() -> Iterator[None]:
    """Drop lines that start with ``INFO:`` from what reaches file descriptor 2 inside the block."""
    with _LOCK:
        yield from _swapped()


def _swapped() -> Iterator[None]:
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: nothing to keep quiet
        yield
        return
    memory = os.memfd_create("stderr") if hasattr(os, "memfd_create") else -1
    try:
        if memory >= 0:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(memory, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        if memory >= 0:
            os.lseek(memory, 0, os.SEEK_SET)
            with os.fdopen(memory, "rb") as caught:
                kept = b"".join(line for line in caught if not line.startswith(b"INFO:"))
            if kept:
                os.write(2, kept)
