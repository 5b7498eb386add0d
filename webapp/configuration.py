"""Everything that can be set about the server, with defaults that are safe on an open network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.machine import available_cpus

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class WebConfiguration:
    """The resolved configuration of one server process.

    Sizes are bytes, times are seconds. ``concurrency`` predictions run at the same time, each with ``engine_threads``
    threads; ``queue_limit`` more may wait, and the rest are refused at once with 503. A rate of 0 means unlimited.
    """

    bundle: Path | None = None
    engine: str = "auto"
    precision: str = "int8"
    engine_threads: int = 1
    concurrency: int = 0
    queue_limit: int = 32
    queue_timeout: float = 10.0
    receive_timeout: float = 30.0
    max_upload_bytes: int = 12 * MEBIBYTE
    max_pixels: int = 30_000_000
    requests_per_minute: int = 600
    connection_limit: int = 256
    trusted_proxies: int = 0
    allowed_hosts: tuple[str, ...] = ()
    api_key: str | None = None
    cors_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    metrics: bool = True

    @property
    def simultaneous_predictions(self) -> int:
        """How many predictions run at once: ``concurrency``, or what fills the processors without oversubscribing."""
        return self.concurrency or max(1, available_cpus() // self.engine_threads)

    @property
    def server_threads(self) -> int:
        """Threads for requests: all that predict or wait for it, and some that answer everything else meanwhile."""
        return self.simultaneous_predictions + self.queue_limit + 4
