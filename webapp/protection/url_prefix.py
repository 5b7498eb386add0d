"""Serving under a prefix: behind a proxy that shows this server as ``https://clinic.example/skin/``.

The prefix comes from ``SCRIPT_NAME`` (which trusted proxies set through ``X-Forwarded-Prefix``) or from
``--url-prefix``. Proxies differ in whether they strip it from the path; both kinds are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edge_runtime.errors import DataError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PREFIX = re.compile(r"(/[\w.~-]+)*")


class UrlPrefix:
    """WSGI middleware that sets ``SCRIPT_NAME`` to the prefix and ``PATH_INFO`` to what follows it.

    ``prefix`` counts where ``SCRIPT_NAME`` is empty; raises :class:`DataError` when it is not a plain path.
    """

    def __init__(self, app: WSGIApplication, prefix: str = "") -> None:
        self._app = app
        self._prefix = normalised(prefix)
        if prefix.strip("/") and not self._prefix:
            raise DataError(f"--url-prefix: expected a path like /skin, found {prefix!r}")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = normalised(environ.get("SCRIPT_NAME", "")) or self._prefix
        path = environ.get("PATH_INFO", "")
        environ["SCRIPT_NAME"] = prefix
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]
            if not path:
                start_response("308 Permanent Redirect", [("Location", f"{prefix}/"), ("Content-Length", "0")])
                return []
        environ["PATH_INFO"] = path
        return self._app(environ, start_response)


def normalised(prefix: str) -> str:
    """Return a prefix as ``SCRIPT_NAME`` holds it, ``/skin``; empty for none, and for what is not a plain path.

    Addresses in the page are made from it, so ``//evil.example`` must not pass.
    """
    plain = "/" + prefix.strip("/") if prefix.strip("/") else ""
    return plain if _PREFIX.fullmatch(plain) and not prefix.startswith("//") else ""
