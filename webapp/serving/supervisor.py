"""Supervises one worker process: a crashed worker is replaced while the listening socket stays open.

Connections that arrive in between wait in the socket's backlog, so a crash costs clients a second or two and no
refused connection. Only the worker holds the model.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

MINIMUM_LIFETIME = 5.0
MAXIMUM_PAUSE = 30.0
CANNOT_START = 1
"""A worker that ends with this status could not start (bad bundle, bad flag): replacing it would not help."""


class Supervisor:
    """Runs ``serve(listener)`` in a child process, again whenever it dies, until SIGTERM or SIGINT."""

    def __init__(self, listener: socket.socket, serve: Callable[[socket.socket], int]) -> None:
        self._listener = listener
        self._serve = serve
        self._worker = 0
        self._stopping = False

    def run(self) -> int:
        """Watch workers until told to stop; return the exit status of the last one."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = 0.0
        while True:
            started = time.monotonic()
            status = self._run_worker()
            if self._stopping or status in (0, CANNOT_START):
                return status
            short_lived = time.monotonic() - started < MINIMUM_LIFETIME
            pause = min(MAXIMUM_PAUSE, 2 * pause or 1.0) if short_lived else 0.0
            reason = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            print(f"worker {reason}; starting another in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)

    def _run_worker(self) -> int:
        """Fork a worker and wait for its end; returns its exit status, negative for a signal."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._worker = os.fork()
        if self._worker == 0:
            status = 70
            try:
                status = self._serve(self._listener)
            finally:
                sys.stdout.flush()
                os._exit(status)
        if self._stopping:
            os.kill(self._worker, signal.SIGTERM)
        _, wait_status = os.waitpid(self._worker, 0)
        self._worker = 0
        return os.waitstatus_to_exitcode(wait_status)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        self._listener.close()
        if self._worker:
            os.kill(self._worker, signal.SIGTERM)
