"""What one application holds while it runs, and how a request reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from webapp.configuration import WebConfiguration
from webapp.inference.engines import Engines
from webapp.inference.metrics import Metrics
from webapp.inference.prediction_queue import PredictionGate

EXTENSION = "dermedge"


@dataclass
class ServerState:
    """Shared by all requests of one application. ``draining`` turns true when the server is asked to stop."""

    configuration: WebConfiguration
    engines: Engines
    gate: PredictionGate
    metrics: Metrics
    draining: bool = False


def server_state() -> ServerState:
    """Return the state of the application that handles the current request."""
    return cast(ServerState, current_app.extensions[EXTENSION])
