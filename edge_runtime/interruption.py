"""SIGTERM and Ctrl-C as a request to stop: finish the current step, save it, then exit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether a stop was requested; ``exit_status`` is then 128 + the signal's number, as shells report it."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._requested = threading.Event()

    def __bool__(self) -> bool:
        return self.signal_number != 0

    @property
    def exit_status(self) -> int:
        """The exit status to use: 143 after SIGTERM, 130 after Ctrl-C, 0 if no stop was requested."""
        return 128 + self.signal_number if self.signal_number else 0

    def request(self, signal_number: int) -> None:
        """Record the request."""
        self.signal_number = signal_number
        self._requested.set()

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until a stop is requested."""
        self._requested.wait(seconds)


@contextmanager
def catch_stop_signals() -> Iterator[Interruption]:
    """Record SIGTERM and SIGINT inside the block; a second signal takes effect at once.

    Outside the main thread, where Python allows no signal handlers, nothing is caught.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def record(number: int, _frame: FrameType | None) -> None:
        interruption.request(number)
        signal.signal(number, previous[signal.Signals(number)])

    try:
        for number in previous:
            signal.signal(number, record)
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
