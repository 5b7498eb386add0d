"""The production server: waitress, with refusals as problem documents, deadlines, and a graceful shutdown.

Waitress reads a whole request before a thread sees it, so a slow sender costs a socket and no thread. Its buffers stay
in memory whatever their size: by default bodies above 512 kB would go to temporary files.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from edge_runtime.errors import DermedgeError
from webapp.configuration import MEBIBYTE, WebConfiguration
from webapp.problems import MEDIA_TYPE, encode_problem
from webapp.protection.security import HEADERS
from webapp.state import EXTENSION, ServerState

_FORM_OVERHEAD = MEBIBYTE
"""Bytes by which a body may exceed the upload limit before the connection is cut: the application refuses those."""

LINGER_SECONDS = 2.0
DRAIN_SECONDS = 20.0


class RequestTimeoutError(Error):
    """The request did not arrive within the time allowed."""

    code = 408
    reason = "Request Timeout"


class _Parser(HTTPRequestParser):
    """Waitress' parser; what it reports as "not implemented" is a client error here."""

    error: Any

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.error is not None and self.error.code >= 500:
            self.error = BadRequest(self.error.body)
        return consumed


class _ProblemTask(ErrorTask):
    """Responds to a request that never reached the application, in the application's own format."""

    def execute(self) -> None:
        error = self.request.error
        body = encode_problem(error.code, str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend([("Content-Type", MEDIA_TYPE), *HEADERS.items()])
        self.set_close_on_finish()
        self.channel.linger_when_flushed = True
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    """A connection whose requests have a deadline, and which lets a refused client read the reason.

    A server that closes while the client is still sending makes the kernel reset the connection, and the client never
    sees the response. So after a refusal: shut down the sending side, read and discard for a moment, then close.
    """

    parser_class = _Parser
    request: Any
    close_when_flushed: bool
    error_task_class = _ProblemTask
    receiving_since: float | None = None
    linger_when_flushed = False
    lingering_until: float | None = None

    def received(self, data: bytes) -> bool:
        open_: bool = super().received(data)
        if self.request is None:
            self.receiving_since = None
        elif self.receiving_since is None:
            self.receiving_since = time.time()
        return open_

    def enforce_deadlines(self, now: float) -> None:
        """Close a lingering connection in time; send 408 for a request that takes too long to arrive."""
        if self.lingering_until is not None:
            if now > self.lingering_until:
                self.handle_close()
            return
        since = self.receiving_since
        if since is None or now - since <= self.server.receive_timeout:
            return
        with self.requests_lock:
            if self.request is None or self.requests:
                return
            late, self.request, self.receiving_since = self.request, None, None
            late.error = RequestTimeoutError(
                f"the request did not arrive within {self.server.receive_timeout:g} seconds"
            )
            late.completed = True
            self.requests.append(late)
            self.server.add_task(self)

    def readable(self) -> bool:
        return self.lingering_until is not None or bool(super().readable())

    def handle_read(self) -> None:
        if self.lingering_until is None:
            super().handle_read()
        else:
            self.recv(self.adj.recv_bytes)  # discarded; the connection closes when the client is done

    def handle_write(self) -> None:
        if not (self.linger_when_flushed and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and self.connected:
            self.close_when_flushed = self.linger_when_flushed = False
            self.lingering_until = time.time() + LINGER_SECONDS
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)


class Server(TcpWSGIServer):
    """Waitress' server with deadlines for its connections and a shutdown that finishes requests in progress."""

    channel_class = _Channel

    def __init__(self, app: Flask, configuration: WebConfiguration, listener: socket.socket) -> None:
        self.receive_timeout = configuration.receive_timeout
        self.stopping = False
        self._state: ServerState = app.extensions[EXTENSION]
        in_memory = configuration.max_upload_bytes + 2 * _FORM_OVERHEAD
        super().__init__(
            app,
            _sock=listener,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, None, listener.getsockname()),
            threads=configuration.server_threads,
            connection_limit=configuration.connection_limit,
            max_request_body_size=configuration.max_upload_bytes + _FORM_OVERHEAD,
            inbuf_overflow=in_memory,
            outbuf_overflow=in_memory,
            channel_timeout=int(configuration.receive_timeout) + 30,
            cleanup_interval=1,
            asyncore_loop_timeout=1,
            asyncore_use_poll=True,
            ident=None,
            clear_untrusted_proxy_headers=False,
        )

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.enforce_deadlines(now)

    def stop(self) -> None:
        """Ask :meth:`run` to finish the open requests and return. May be called from a signal handler."""
        self._state.draining = True
        self.stopping = True
        self.pull_trigger()

    def run(self) -> None:
        """Serve until :meth:`stop`, then drain: no new connections, and at most ``DRAIN_SECONDS`` for the open ones."""
        while not self.stopping:
            wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        self.accepting = False
        self.del_channel(self._map)
        self.socket.close()  # new connections are refused now, so a load balancer sends them elsewhere
        deadline = time.time() + DRAIN_SECONDS
        while self._busy() and time.time() < deadline:
            self.maintenance(time.time())
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._map, count=1)
        self.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)
        self._state.engines.close()

    def _busy(self) -> bool:
        return any(
            channel.requests or channel.request is not None or channel.total_outbufs_len
            for channel in list(self.active_channels.values())
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 lets the system choose. Raises :class:`DermedgeError` naming the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise DermedgeError(f"{host}:{port}: cannot listen: {error.strerror or error}") from None
