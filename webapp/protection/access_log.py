"""One JSON line and one set of metrics per request, and the request id that links them.

A line holds no image, file name, query string or client address: only the route's pattern, never the path.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from time import perf_counter

from flask import Flask, Response, g, request

from webapp.state import server_state

_log = logging.getLogger("webapp.access")
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def init_access_log(app: Flask) -> None:
    """Give every request an id (the client's ``X-Request-ID`` if it is well formed) and log it with the response."""

    @app.before_request
    def _start() -> None:
        offered = request.headers.get("X-Request-ID", "")
        g.request_id = offered if _ACCEPTED_ID.fullmatch(offered) else secrets.token_hex(8)
        g.started = perf_counter()

    @app.after_request
    def _finish(response: Response) -> Response:
        request_id = g.get("request_id") or secrets.token_hex(8)
        response.headers["X-Request-ID"] = request_id
        seconds = perf_counter() - g.get("started", perf_counter())
        route = request.url_rule.rule if request.url_rule is not None else "none"
        method = request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        metrics = server_state().metrics
        metrics.requests.labels(route, method, str(response.status_code)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if response.status_code in (400, 401, 408, 411, 413, 415, 422, 429, 503):
            metrics.refusals.labels(str(response.status_code)).inc()
        if _log.isEnabledFor(logging.INFO):
            line = {
                "request_id": request_id,
                "method": method,
                "route": route,
                "status": response.status_code,
                "ms": round(1e3 * seconds, 2),
                "request_bytes": request.content_length or 0,
                "response_bytes": response.content_length or 0,
            }
            _log.info("%s", json.dumps(line))
        return response
