"""Send a server hostile uploads, and check that it refuses each one properly and its memory stays small.

    python -m tools.fuzz_uploads --count 10000

It starts its own server, to which the kernel denies every write to a file. A run fails when a response is a 5xx, is
not ``application/problem+json``, or accepts what cannot be an image, or when memory grows beyond the limit.
"""

from __future__ import annotations

import http.client
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from tqdm import tqdm

from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, parse_settings
from tools.hostile_bodies import HostileRequest, hostile_requests
from tools.server_process import ServerProcess, server_process

_CLIENTS = 4
_PATH = "/api/v1/predict"


@dataclass
class Findings:
    """The responses: how often each status came for each kind of request, and everything that must not happen."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def record(self, kind: str, status: int, content_type: str, may_pass: bool) -> None:
        """Count one response; note it as a fault when it is neither a proper refusal nor an allowed success."""
        self.statuses[kind, status] += 1
        if status == 200 and may_pass:
            return
        if not 400 <= status < 500:
            self.faults.append(f"{kind}: status {status}")
        elif content_type != "application/problem+json":
            self.faults.append(f"{kind}: status {status} with content type {content_type!r}")


def fuzz(server: ServerProcess, count: int, seed: int) -> Findings:
    """Send ``count`` requests over a few connections at once, and some slow and endless ones at the same time."""
    findings = Findings()
    lock = threading.Lock()
    requests = hostile_requests(count, seed)
    progress = tqdm(total=count, unit="request", disable=not sys.stderr.isatty())

    def take() -> HostileRequest | None:
        with lock:
            return next(requests, None)

    def work() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        while (request := take()) is not None:
            try:
                status, content_type = _send(connection, request)
            except OSError as error:
                status, content_type = 599, f"connection failed: {error}"
                connection.close()
            with lock:
                findings.record(request.kind, status, content_type, request.may_pass)
                progress.update()
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(_CLIENTS)]
    workers += [threading.Thread(target=_send_endlessly, args=(server, findings, lock)) for _ in range(4)]
    workers += [threading.Thread(target=_send_slowly, args=(server, findings, lock)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    progress.close()
    return findings


def _send(connection: http.client.HTTPConnection, request: HostileRequest) -> tuple[int, str]:
    headers = {"Content-Type": request.content_type} if request.content_type else {}
    connection.request("POST", _PATH, body=request.body, headers=headers)
    response = connection.getresponse()
    response.read()
    return response.status, response.headers.get("Content-Type", "")


def _raw_exchange(
    server: ServerProcess, kind: str, pieces: Iterator[bytes], findings: Findings, lock: threading.Lock
) -> None:
    """Send pieces until the server responds, and record the response."""
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
            connection.settimeout(0.05)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                pass
            connection.settimeout(60)
        connection.settimeout(60)
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        with lock:
            findings.record(kind, response.status, response.headers.get("Content-Type", ""), may_pass=False)
        response.close()


def _send_endlessly(server: ServerProcess, findings: Findings, lock: threading.Lock) -> None:
    def pieces() -> Iterator[bytes]:
        yield f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        while True:
            yield b"40000\r\n" + bytes(0x40000) + b"\r\n"

    _raw_exchange(server, "endless chunked body", pieces(), findings, lock)


def _send_slowly(server: ServerProcess, findings: Findings, lock: threading.Lock) -> None:
    def pieces() -> Iterator[bytes]:
        yield f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode()
        while True:
            yield b"x"

    _raw_exchange(server, "slow sender", pieces(), findings, lock)


def report(findings: Findings, before: float, after: float, peak: float) -> None:
    """Print the statuses of each kind of request, and the server's memory."""
    for kind in sorted({kind for kind, _ in findings.statuses}):
        counts = {status: count for (each, status), count in sorted(findings.statuses.items()) if each == kind}
        print(f"{kind:<24} " + "  ".join(f"{status}: {count}" for status, count in counts.items()))
    print(f"memory: {before:.0f} MiB before, {after:.0f} MiB after, {peak:.0f} MiB at its peak")
    for fault in findings.faults[:20]:
        print(f"fault: {fault}")
    print(f"{sum(findings.statuses.values())} requests, {len(findings.faults)} faults")


class FuzzSettings(msgspec.Struct, frozen=True):
    """The flags of the command."""

    count: Annotated[int, Meta(ge=1, description="requests to send")] = 10_000
    seed: Annotated[int, Meta(description="seed of the requests")] = 0
    bundle: Annotated[Path | None, Meta(description="bundle folder, as for python -m webapp")] = None
    engine: Annotated[Literal["onnx", "tflite"], Meta(description="inference engine")] = "onnx"
    max_memory_mib: Annotated[float, Meta(gt=0, description="limit on the server's peak memory")] = 1024.0


def main() -> int:
    """Run the command line; exit status 1 when there was a fault."""
    parser = OneLineParser(
        prog="python -m tools.fuzz_uploads",
        description="Send hostile uploads to a server started for this, and check every response.",
        epilog="example: python -m tools.fuzz_uploads --count 10000 --bundle models/demo",
    )
    arguments = parse_settings(parser, FuzzSettings)
    flags = ["--engine", arguments.engine, "--requests-per-minute", "0", "--receive-timeout", "3"]
    flags += ["--bundle", str(arguments.bundle)] if arguments.bundle else []
    with server_process(*flags) as server:
        before, _ = server.memory_mib()
        findings = fuzz(server, arguments.count, arguments.seed)
        after, peak = server.memory_mib()
    if peak > arguments.max_memory_mib:
        findings.faults.append(f"memory peaked at {peak:.0f} MiB, limit {arguments.max_memory_mib:g} MiB")
    report(findings, before, after, peak)
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
