"""How many predictions run at once, how many may wait, and how the rest are refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from webapp.problems import RefusalError


class PredictionGate:
    """A bounded queue in front of the CPUs.

    Up to ``slots`` holders are inside :meth:`enter` at the same time and up to ``queue_limit`` wait, first come first
    served. One more is refused at once, and a waiter after ``timeout`` seconds, both with 503 and ``Retry-After``.
    """

    def __init__(self, slots: int, queue_limit: int, timeout: float) -> None:
        self._free = slots
        self._queue_limit = queue_limit
        self._timeout = timeout
        self._lock = threading.Lock()
        self._waiting: list[threading.Event] = []

    @property
    def waiting(self) -> int:
        """How many requests wait at this moment."""
        return len(self._waiting)

    @contextmanager
    def enter(self) -> Iterator[float]:
        """Wait for a slot and hold it; yields the seconds waited. Raises :class:`RefusalError` (503)."""
        started = monotonic()
        self._acquire()
        try:
            yield monotonic() - started
        finally:
            self._release()

    def _acquire(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            if len(self._waiting) >= self._queue_limit:
                raise RefusalError(503, "too many images are waiting, try again shortly", {"Retry-After": "2"})
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(self._timeout):
            return
        with self._lock:
            if turn.is_set():  # the slot was handed over just as the timeout expired
                return
            self._waiting.remove(turn)
        raise RefusalError(503, f"no CPU became free within {self._timeout:g} seconds", {"Retry-After": "5"})

    def _release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.pop(0).set()  # the slot goes straight to the next; ``_free`` does not change
            else:
                self._free += 1
