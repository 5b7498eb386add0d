"""Headers, API key, hosts, cross-origin access, rate limit, and the gate before the CPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import REPOSITORY, TINY_BUNDLE
from tests.webapp.conftest import configuration, form
from webapp import create_app
from webapp.inference.prediction_queue import PredictionGate
from webapp.problems import RefusalError


@pytest.mark.parametrize("path", ["/", "/api/v1/model", "/nothing", "/api/v1/docs"])
def test_every_response_carries_the_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path, buffered=True).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Set-Cookie" not in headers
    assert "Server" not in headers


def test_only_named_sites_may_frame_the_page() -> None:
    headers = create_app(configuration(frame_ancestors=("https://huggingface.co",))).test_client().get("/").headers
    assert headers["Content-Security-Policy"].endswith("frame-ancestors https://huggingface.co")
    assert "X-Frame-Options" not in headers


@pytest.mark.parametrize("path", ["/", "/api/v1/docs"])
def test_pages_have_no_inline_script_or_style(client: FlaskClient, path: str) -> None:
    page = client.get(path).get_data(as_text=True)
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src=') + page.count(
        '<script type="application/json"'
    )


def test_api_key(jpeg: bytes) -> None:
    client = create_app(configuration(api_key="secret")).test_client()
    refused = client.post("/api/v1/predict", **form(jpeg))
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/api/v1/model", headers={"Authorization": "Bearer wrong"}).status_code == 401
    allowed = client.post("/api/v1/predict", headers={"Authorization": "Bearer secret"}, **form(jpeg))
    assert allowed.status_code == 200
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/openapi.json").get_json()["components"]["securitySchemes"]


def test_only_allowed_hosts() -> None:
    client = create_app(configuration(allowed_hosts=("clinic.example",))).test_client()
    assert client.get("/", headers={"Host": "clinic.example"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_other_origins_only_when_configured(client: FlaskClient) -> None:
    origin = {"Origin": "https://clinic.example"}
    assert "Access-Control-Allow-Origin" not in client.get("/api/v1/model", headers=origin).headers
    configured = create_app(configuration(cors_origins=("https://clinic.example",))).test_client()
    headers = configured.get("/api/v1/model", headers=origin).headers
    assert headers["Access-Control-Allow-Origin"] == "https://clinic.example"
    assert "Origin" in headers["Vary"]
    other = configured.get("/api/v1/model", headers={"Origin": "https://evil.example"}).headers
    assert "Access-Control-Allow-Origin" not in other


def test_rate_limit_counts_images_per_client(jpeg: bytes) -> None:
    client = create_app(configuration(requests_per_minute=3)).test_client()
    assert client.post("/api/v1/predict/batch", **form(jpeg, jpeg)).status_code == 200
    assert client.post("/api/v1/predict", **form(jpeg)).status_code == 200
    refused = client.post("/api/v1/predict", **form(jpeg))
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert client.get("/healthz").status_code == 200
    other = client.post("/api/v1/predict", environ_overrides={"REMOTE_ADDR": "192.0.2.7"}, **form(jpeg))
    assert other.status_code == 200


def test_forwarded_addresses_count_only_behind_a_trusted_proxy(jpeg: bytes) -> None:
    def spend(client: FlaskClient, address: str) -> int:
        return client.post("/api/v1/predict", headers={"X-Forwarded-For": address}, **form(jpeg)).status_code

    direct = create_app(configuration(requests_per_minute=1)).test_client()
    assert [spend(direct, "192.0.2.1"), spend(direct, "192.0.2.2")] == [200, 429]
    proxied = create_app(configuration(requests_per_minute=1, trusted_proxies=1)).test_client()
    assert [spend(proxied, "192.0.2.1"), spend(proxied, "192.0.2.2"), spend(proxied, "192.0.2.1")] == [200, 200, 429]


def wait_for_waiters(gate: PredictionGate, count: int) -> None:
    end = time.monotonic() + 20
    while gate.waiting < count:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_gate_refuses_at_once_beyond_the_queue() -> None:
    gate = PredictionGate(slots=1, queue_limit=1, timeout=30)
    with gate.enter():
        waiter = threading.Thread(target=lambda: gate.enter().__enter__())
        waiter.start()
        wait_for_waiters(gate, 1)
        with pytest.raises(RefusalError, match="too many images are waiting") as refused, gate.enter():
            pass
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "2")
    waiter.join()
    assert gate.waiting == 0


def test_gate_gives_up_after_its_timeout_and_loses_no_slot() -> None:
    gate = PredictionGate(slots=1, queue_limit=4, timeout=0.01)
    with gate.enter(), pytest.raises(RefusalError, match="no CPU became free within"), gate.enter():
        pass
    with gate.enter():  # raises where the slot was lost
        pass


def test_gate_serves_in_order() -> None:
    gate = PredictionGate(slots=1, queue_limit=8, timeout=30)
    order: list[int] = []

    def work(number: int) -> None:
        with gate.enter():
            order.append(number)

    threads = []
    with gate.enter():
        for number in range(4):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            wait_for_waiters(gate, number + 1)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_the_engine_sends_no_telemetry(tmp_path: Path) -> None:
    code = "from edge_runtime import Classifier; import sys; Classifier.load(sys.argv[1], engine='onnx').close()"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code, str(TINY_BUNDLE)], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []  # its telemetry begins with a session's mark here
