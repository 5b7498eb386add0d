"""Headers of every response, the optional API key, and cross-origin access."""

from __future__ import annotations

import hmac

from flask import Flask, Response, request

from webapp.configuration import WebConfiguration
from webapp.problems import problem_response

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # WebAssembly for the model in the browser; no eval of JavaScript
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",  # the user's own images and heat maps
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OPEN_PATHS = ("/api/v1/openapi.json", "/api/v1/docs")
"""Under /api but readable without a key: they only describe the API."""


def init_security(app: Flask, configuration: WebConfiguration) -> None:
    """Register the checks before and the headers after every request."""
    headers = headers_for(configuration.frame_ancestors)

    @app.before_request
    def _check_api_key() -> Response | None:
        if configuration.api_key is None or not request.path.startswith("/api/") or request.path in _OPEN_PATHS:
            return None
        if request.method == "OPTIONS":  # browsers ask for permission without credentials
            return None
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if hmac.compare_digest(offered.encode(), configuration.api_key.encode()):
            return None
        refusal = "expected the header 'Authorization: Bearer <API key>' with the key of this server"
        return problem_response(401, refusal, {"WWW-Authenticate": "Bearer"})

    @app.after_request
    def _add_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if request.path.startswith("/api/v1/") and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        _allow_origin(response, configuration.cors_origins)
        return response


def headers_for(frame_ancestors: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of every response; the sites in ``frame_ancestors`` may show the page inside their own."""
    if not frame_ancestors:
        return HEADERS
    policy = CONTENT_SECURITY_POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(frame_ancestors)}")
    without_ban = {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"}
    return {**without_ban, "Content-Security-Policy": policy}


def _allow_origin(response: Response, origins: tuple[str, ...]) -> None:
    """Let the configured web origins call the API from a browser; without configuration none can."""
    origin = request.headers.get("Origin")
    if not origins or not request.path.startswith("/api/"):
        return
    response.headers.add("Vary", "Origin")
    if origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Request-ID"
        response.headers["Access-Control-Expose-Headers"] = "X-Request-ID, X-Label, X-Explained-Class, Retry-After"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
