"""``/healthz``, ``/readyz`` and ``/metrics``: for whatever monitors the server."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from webapp.problems import RefusalError
from webapp.requests.openapi import Operation, describe
from webapp.requests.schemas import HealthResponse
from webapp.state import server_state

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@describe(Operation("Tell whether the process is alive.", {200: HealthResponse}, secured=False))
def healthz() -> Response:
    """Return 200 as long as the process lives, whatever its load."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@describe(
    Operation("Tell whether the server takes new requests.", {200: HealthResponse}, refusals=(503,), secured=False)
)
def readyz() -> Response:
    """Return 503 while the server is stopping or its queue is full."""
    state = server_state()
    if state.draining:
        raise RefusalError(503, "the server is stopping")
    if state.gate.waiting >= state.configuration.queue_limit > 0:
        raise RefusalError(503, "the queue is full", {"Retry-After": "2"})
    return jsonify({"status": "ready"})


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return all metrics in Prometheus' text format."""
    state = server_state()
    if not state.configuration.metrics:
        raise RefusalError(404, "metrics are switched off")
    state.metrics.waiting.set(state.gate.waiting)
    return Response(state.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
