"""A limit on images per client and minute, so that one client cannot occupy the CPUs."""

from __future__ import annotations

import time

from flask import Flask, current_app, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from webapp.problems import RefusalError

_EXTENSION = "dermedge_rate_limit"


class RateLimit:
    """Images per minute and client address over a moving window; only the last minute is kept, in memory."""

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def spend(self, client: str, images: int) -> None:
        """Count images for a client. Raises :class:`RefusalError` (429) when there are too many."""
        if self._limiter.hit(self._limit, client, cost=images):
            return
        reset = self._limiter.get_window_stats(self._limit, client).reset_time
        wait = max(1, round(reset - time.time()))
        raise RefusalError(
            429, f"expected at most {self._limit.amount} images per minute from one client", {"Retry-After": str(wait)}
        )


def init_rate_limit(app: Flask, per_minute: int) -> None:
    """Give the application its limit; 0 means none."""
    app.extensions[_EXTENSION] = RateLimit(per_minute) if per_minute > 0 else None


def spend(images: int) -> None:
    """Count images for the client of the current request. Raises :class:`RefusalError` (429)."""
    rate_limit = current_app.extensions[_EXTENSION]
    if rate_limit is not None:
        rate_limit.spend(request.remote_addr or "unknown", images)
