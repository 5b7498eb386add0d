"""Errors as ``application/problem+json`` (RFC 9457): every error says what was wrong, none shows a traceback."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from edge_runtime.errors import DermedgeError, ImageError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("webapp")


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details: ``detail`` names what was wrong, ``status`` repeats the HTTP status."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    request_id: str | None = None


class RefusalError(Exception):
    """A refusal with its HTTP status, to be raised anywhere while a request is handled."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def encode_problem(status: int, detail: str, request_id: str | None = None) -> bytes:
    """Return the JSON bytes of a problem document."""
    return msgspec.json.encode(ProblemDocument(HTTPStatus(status).phrase, status, detail, request_id=request_id))


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return the Flask response for a problem."""
    body = encode_problem(status, detail, g.get("request_id"))
    return Response(body, status=status, headers=headers, content_type=MEDIA_TYPE)


def register_error_handlers(app: Flask) -> None:
    """Turn every error of the application into a problem document."""

    @app.errorhandler(RefusalError)
    def _problem(error: RefusalError) -> Response:
        return problem_response(error.status, error.detail, error.headers)

    @app.errorhandler(ImageError)
    def _image(error: ImageError) -> Response:
        return problem_response(422, without_source(str(error)))

    @app.errorhandler(DermedgeError)
    def _dermedge(error: DermedgeError) -> Response:
        _log.error("%s", error)
        return problem_response(503, "the model is not available at the moment", {"Retry-After": "10"})

    @app.errorhandler(RequestEntityTooLarge)
    def _too_large(_: RequestEntityTooLarge) -> Response:
        limit = app.config["MAX_CONTENT_LENGTH"] / 1024 / 1024
        return problem_response(413, f"expected a request of at most {limit:.3g} MiB, found a larger one")

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        if error.response is not None or error.code is None or error.code < 400:
            return error.get_response()  # type: ignore[return-value]
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return problem_response(error.code, error.description or HTTPStatus(error.code).phrase, headers)

    @app.errorhandler(Exception)
    def _defect(error: Exception) -> Response:
        _log.exception("request %s failed", g.get("request_id"))
        return problem_response(500, "the server failed to handle this request; its log has the details")


def without_source(message: str) -> str:
    """Drop the runtime's name for an image that came as bytes: the client knows which one it sent."""
    return message.removeprefix("<bytes>: ")
