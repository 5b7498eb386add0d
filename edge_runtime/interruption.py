"""SIGTERM and Ctrl-C as a wish to stop soon: finish what is under way, write it, leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether someone asked to stop; ``exit_status`` is then 128 + the signal's number, as shells count."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._asked = threading.Event()

    def __bool__(self) -> bool:
        return self.signal_number != 0

    @property
    def exit_status(self) -> int:
        """The status to leave with: 143 for SIGTERM, 130 for Ctrl-C, 0 when nobody asked."""
        return 128 + self.signal_number if self.signal_number else 0

    def ask(self, signal_number: int) -> None:
        """Remember the wish."""
        self.signal_number = signal_number
        self._asked.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until someone asks to stop."""
        self._asked.wait(seconds)


@contextmanager
def stop_when_asked() -> Iterator[Interruption]:
    """Catch SIGTERM and SIGINT inside the block; a second one acts at once. Does nothing outside the main thread."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def remember(number: int, _frame: FrameType | None) -> None:
        interruption.ask(number)
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, remember)
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
