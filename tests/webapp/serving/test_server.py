"""The server itself over real sockets: deadlines, oversized and endless bodies, drain, and a replaced worker."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import REPOSITORY, TINY_BUNDLE
from tests.webapp.conftest import configuration, running_server, serving
from tools.hostile_bodies import FORM_TYPE, form_body
from webapp import create_app
from webapp.state import EXTENSION

Address = tuple[str, int]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with running_server(receive_timeout=1.0, max_upload_mib=0.2) as address:
        yield address


def exchange(address: Address, request: bytes, timeout: float = 20.0) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and read until the server closes: status, headers, body."""
    with socket.create_connection(address, timeout=timeout) as connection:
        connection.sendall(request)
        return read_response(connection)


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    headers = dict(response.getheaders())
    response.close()
    return response.status, headers, body


def assert_problem(response: tuple[int, dict[str, str], bytes], status: int) -> None:
    found, headers, body = response
    assert found == status
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(body)["status"] == status


def test_slow_sender_is_told_and_cut_off(address: Address) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):  # a byte now and then keeps an idle timer from firing
            if select.select([connection], [], [], 0.1)[0]:
                break
            connection.sendall(b"x")
        assert_problem(read_response(connection), 408)


def test_slow_headers_are_cut_off_too(address: Address) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost:")
        assert_problem(read_response(connection), 408)


def test_announced_oversize_is_refused_before_it_is_sent(address: Address) -> None:
    request = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n"
    assert_problem(exchange(address, request), 413)


def test_endless_chunked_body_is_refused_and_the_sender_can_read_why(address: Address) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        head = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head)
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        for _ in range(1000):
            if select.select([connection], [], [], 0)[0]:
                break
            connection.sendall(chunk)
        assert_problem(read_response(connection), 413)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbroken header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", 431),
    ],
)
def test_broken_http_is_the_clients_mistake(address: Address, request_bytes: bytes, status: int) -> None:
    assert_problem(exchange(address, request_bytes), status)


def test_a_held_connection_does_not_hold_a_thread(address: Address) -> None:
    held = [socket.create_connection(address) for _ in range(100)]
    try:
        for connection in held:
            connection.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        status, _, _ = exchange(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status == 200
    finally:
        for connection in held:
            connection.close()


def test_requests_beyond_the_queue_get_503_while_the_queue_waits(jpeg: bytes) -> None:
    settings = configuration(concurrency=1, queue_limit=2, queue_timeout=60.0)
    app = create_app(settings)
    gate = app.extensions[EXTENSION].gate
    statuses: list[int] = []

    def ask(address: Address) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*address, timeout=60)
        connection.request("POST", "/api/v1/predict", form_body(jpeg), {"Content-Type": FORM_TYPE})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    with serving(app, settings) as address:
        queued = [threading.Thread(target=lambda: statuses.append(ask(address).status)) for _ in range(2)]
        with gate.enter():  # the only slot is taken
            for thread in queued:
                thread.start()
            deadline = time.monotonic() + 30
            while gate.waiting < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            refused = ask(address)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
            assert (gate.waiting, statuses) == (2, [])
        for thread in queued:
            thread.join(timeout=60)
    assert statuses == [200, 200]


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``python -m webapp`` as a user starts it: the process and its address."""
    command = [sys.executable, "-m", "webapp", "--bundle", str(TINY_BUNDLE), "--engine", "onnx", "--port", "0"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        try:
            yield child, announced_address(child)
        finally:
            child.terminate()
            child.wait(timeout=30)


def announced_address(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    for line in child.stdout:
        if found := re.search(r"http://\S+/", line):
            return found[0]
    raise AssertionError("the server ended without serving")


def children_of(process_id: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_crashed_worker_is_replaced(process: tuple[subprocess.Popen[str], str]) -> None:
    child, address = process
    (worker,) = children_of(child.pid)
    os.kill(worker, signal.SIGKILL)
    with urlopen(f"{address}healthz", timeout=30) as response:
        assert response.status == 200
    assert announced_address(child) == address
    assert children_of(child.pid) not in ([], [worker])


def wait_until_refused(address: Address) -> None:
    """Wait until a stopping server takes no new connections."""
    end = time.monotonic() + 15  # it waits 20 seconds for what was begun
    while time.monotonic() < end:
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the server still takes connections")


def test_sigterm_finishes_what_was_begun(process: tuple[subprocess.Popen[str], str], jpeg: bytes) -> None:
    child, address = process
    host, port = re.search(r"//(.*):(\d+)/", address).groups()  # type: ignore[union-attr]
    body = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + jpeg + b"\r\n--edge--\r\n"
    head = f"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue"), "the server has seen the beginning"
        connection.sendall(body[:100])
        child.send_signal(signal.SIGTERM)
        wait_until_refused((host, int(port)))
        threading.Timer(0.2, connection.sendall, args=(body[100:],)).start()
        status, _, response = read_response(connection)
        assert status == 200
        assert json.loads(response)["label"]
    assert child.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--port", "70000"], "argument --port: expected a whole number from 0 to 65535, found 70000"),
        (["--threads", "0"], "argument --threads: expected a whole number of at least 1, found 0"),
        (["--engine", "tpu"], "argument --engine: "),
    ],
)
def test_wrong_usage_is_one_line(flags: list[str], line: str) -> None:
    command = [sys.executable, "-m", "webapp", *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.endswith("(see python -m webapp --help)\n")
    assert done.stderr.count("\n") == 1


def test_a_missing_bundle_is_one_line_and_no_loop() -> None:
    command = [sys.executable, "-m", "webapp", "--bundle", "no-such-bundle", "--port", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: no-such-bundle/manifest.json: cannot be read: No such file or directory\n"
