"""The web application: one page, a REST API, and the model in the browser. ``python -m webapp`` serves it."""

from __future__ import annotations

__all__ = ["WebConfiguration", "create_app"]

from webapp.application import create_app
from webapp.configuration import WebConfiguration
