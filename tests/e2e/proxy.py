"""A reverse proxy for tests: shows a server under a prefix, and answers in its place when asked to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_OWN = {"connection", "host", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Foreign:
    """A response that is not the server's."""

    status: int = 200
    body: bytes = b"<!doctype html><title>Welcome to the hotel</title><form action=/login></form>"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/html; charset=utf-8"})


Intercept = Callable[[str, str], Foreign | None]
"""From method and path to what is sent in the server's place, ``None`` to pass the request on."""


class ReverseProxy(ThreadingHTTPServer):
    """Passes requests on to ``upstream`` unless ``intercept`` answers; ``strips`` takes the prefix off the path."""

    daemon_threads = True
    intercept: Intercept | None = None

    def __init__(self, upstream: tuple[str, int], prefix: str = "", strips: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.prefix, self.strips = upstream, prefix, strips

    @property
    def address(self) -> str:
        """The address of the page, without the slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}{self.prefix}"


class _Handler(BaseHTTPRequestHandler):
    server: ReverseProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        foreign = self.server.intercept(self.command, self.path) if self.server.intercept else None
        if foreign is not None:
            self._respond(foreign.status, list(foreign.headers.items()), foreign.body)
            return
        path = self.path
        if self.server.prefix and not path.startswith(f"{self.server.prefix}/"):
            self._respond(404, [("Content-Type", "text/plain")], b"outside the prefix")
            return
        if self.server.strips:
            path = path[len(self.server.prefix) :]
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        headers |= {"Host": self.headers["Host"], "X-Forwarded-For": "192.0.2.1"}
        if self.server.prefix:
            headers["X-Forwarded-Prefix"] = self.server.prefix
        with closing(http.client.HTTPConnection(*self.server.upstream, timeout=60)) as upstream:
            upstream.request(self.command, path, body=body or None, headers=headers)
            response = upstream.getresponse()
            kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OWN]
            content = response.read()
        self._respond(response.status, kept, content)

    do_GET = do_POST = do_HEAD = _serve  # noqa: N815, names of http.server

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if status == 0:  # hang up
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the browser went elsewhere before its response came, which is its right
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def reverse_proxy(upstream: tuple[str, int], prefix: str = "", strips: bool = True) -> Iterator[ReverseProxy]:
    """Run a proxy in front of a server until the block ends."""
    with ReverseProxy(upstream, prefix, strips) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(timeout=10)
