"""What the web application's tests share: an application on the tiny bundle, and images to send it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import TINY_BUNDLE, blob_image, encoded
from webapp import WebConfiguration, create_app
from webapp.serving.server import Server, listen

MakeApp = Callable[..., Flask]


def configuration(**changes: Any) -> WebConfiguration:
    """Configuration for tests: the tiny bundle on one engine, without a rate limit unless given."""
    settings: dict[str, Any] = {"bundle": TINY_BUNDLE, "engine": "onnx", "requests_per_minute": 0, **changes}
    return WebConfiguration(**settings)


@pytest.fixture(scope="session")
def app() -> Flask:
    """One application for all tests that change nothing about it."""
    return create_app(configuration())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def make_client() -> Callable[..., FlaskClient]:
    """Make a client of an application with its own configuration."""
    return lambda **changes: create_app(configuration(**changes)).test_client()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    return encoded(blob_image())


def form(*images: bytes, **fields: str) -> dict[str, Any]:
    """Keyword arguments for ``client.post``: images and fields as a multipart form."""
    files = [(io.BytesIO(data), f"lesion-{number}.jpg") for number, data in enumerate(images)]
    return {"data": {"image": files, **fields}, "content_type": "multipart/form-data"}


@contextmanager
def running_server(bundle: Path = TINY_BUNDLE, **changes: Any) -> Iterator[tuple[str, int]]:
    """A real server on a free port of this machine, in a thread: ``(host, port)``."""
    settings = configuration(bundle=bundle, **changes)
    with serving(create_app(settings), settings) as address:
        yield address


@contextmanager
def serving(app: Flask, settings: WebConfiguration) -> Iterator[tuple[str, int]]:
    """Serve an application as ``python -m webapp`` does, on a free port, in a thread: ``(host, port)``."""
    listener = listen("127.0.0.1", 0)
    server = Server(app, settings, listener)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.stop()
        thread.join(timeout=60)
        assert not thread.is_alive(), "the server does not stop"
