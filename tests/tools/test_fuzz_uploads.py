"""A short run of hostile uploads, and a crowd larger than the queue, against a server that may not write."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import TINY_BUNDLE, blob_image, encoded
from tools.fuzz_uploads import fuzz
from tools.hostile_bodies import FORM_TYPE, form_body, hostile_requests
from tools.server_process import ServerProcess, server_process

FLAGS = ("--bundle", str(TINY_BUNDLE), "--engine", "onnx", "--requests-per-minute", "0", "--receive-timeout", "2")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process(*FLAGS, "--concurrency", "1", "--queue-limit", "4") as server:
        yield server


def test_hostile_requests_are_the_same_for_the_same_seed() -> None:
    assert list(hostile_requests(40, seed=3)) == list(hostile_requests(40, seed=3))
    assert len({request.kind for request in hostile_requests(400, seed=3)}) > 20


@pytest.mark.slow
def test_hostile_uploads_are_refused_and_nothing_is_written(server: ServerProcess) -> None:
    findings = fuzz(server, count=150, seed=1)
    assert findings.faults == []
    assert sum(findings.statuses.values()) == 158
    assert server.memory_mib()[1] < 1024


@pytest.mark.slow
def test_a_crowd_larger_than_the_queue_is_partly_refused(server: ServerProcess) -> None:
    """Every client has predictions that take a while, so more are under way at once than may run and wait."""
    statuses: Counter[int] = Counter()
    retry_after: list[str | None] = []
    slow = encoded(blob_image(4000, 3000), "PNG")
    start = threading.Barrier(16)

    def ask() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        start.wait()
        for _ in range(2):
            connection.request("POST", "/api/v1/predict", form_body(slow), {"Content-Type": FORM_TYPE})
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1
            if response.status == 503:
                retry_after.append(response.headers["Retry-After"])
        connection.close()

    crowd = [threading.Thread(target=ask) for _ in range(16)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 5  # the one that runs and the four that wait
    assert statuses[503] > 0
    assert all(retry_after)
