"""``create_app(configuration)`` assembles the application, one blueprint per concern."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp.configuration import WebConfiguration
from webapp.inference.engines import Engines
from webapp.inference.metrics import Metrics
from webapp.inference.prediction_queue import PredictionGate
from webapp.problems import register_error_handlers
from webapp.protection.access_log import init_access_log
from webapp.protection.rate_limit import init_rate_limit
from webapp.protection.security import init_security
from webapp.protection.url_prefix import UrlPrefix
from webapp.routes import api, assets, documents, health, model_api, page
from webapp.routes.assets import init_assets
from webapp.state import EXTENSION, ServerState


def create_app(configuration: WebConfiguration | None = None) -> Flask:
    """Return the WSGI application with its model loaded.

    Raises :class:`~edge_runtime.errors.DermedgeError` when there is no usable bundle or engine.
    """
    configuration = configuration or WebConfiguration()
    app = Flask("webapp", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # probabilities stay in class order
    app.config["MAX_CONTENT_LENGTH"] = configuration.max_upload_bytes
    if configuration.allowed_hosts:
        app.config["TRUSTED_HOSTS"] = list(configuration.allowed_hosts)
    app.wsgi_app = UrlPrefix(app.wsgi_app, configuration.url_prefix)  # type: ignore[method-assign]
    if configuration.trusted_proxies:
        hops = configuration.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    app.extensions[EXTENSION] = ServerState(
        configuration=configuration,
        engines=Engines(configuration),
        gate=PredictionGate(
            configuration.simultaneous_predictions, configuration.queue_limit, configuration.queue_timeout
        ),
        metrics=Metrics(),
    )
    register_error_handlers(app)
    init_access_log(app)
    init_assets(app)
    init_rate_limit(app, configuration.requests_per_minute)
    init_security(app, configuration)
    for module in (page, assets, api, model_api, health, documents):
        app.register_blueprint(module.blueprint)
    return app
