"""Model description, health, metrics, request ids, the access log, and what it must not hold."""

from __future__ import annotations

import json
import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.engines import usable_variants
from tests.conftest import TINY_BUNDLE
from tests.webapp.conftest import configuration, form
from webapp import create_app
from webapp.state import EXTENSION


def test_model_describes_the_bundle(client: FlaskClient) -> None:
    model = client.get("/api/v1/model").get_json()
    manifest = read_manifest(TINY_BUNDLE)
    assert model["name"] == manifest.name
    assert model["demo"] is manifest.demo
    assert [each["code"] for each in model["classes"]] == [each.code for each in manifest.classes]
    assert model["default_variant"] == "onnx-int8"
    assert model["variants"] == usable_variants(manifest.variants)
    assert set(model["variants"]) >= set(manifest.variants)
    assert {file["file"] for file in model["files"]} == {graph.file for graph in manifest.graphs}


def test_model_files_are_cached_by_their_checksum(client: FlaskClient) -> None:
    entry = client.get("/api/v1/model").get_json()["files"][0]
    response = client.get(entry["url"], buffered=True)
    assert response.data == (TINY_BUNDLE / entry["file"]).read_bytes()
    assert response.headers["ETag"] == f'"{entry["sha256"]}"'
    assert "immutable" in response.headers["Cache-Control"]
    again = client.get(entry["url"], headers={"If-None-Match": response.headers["ETag"]}, buffered=True)
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["0000/features.int8.onnx", "0000/manifest.json", "0000/..%2Fmanifest.json"])
def test_only_graphs_with_the_right_checksum_are_served(client: FlaskClient, path: str) -> None:
    assert client.get(f"/api/v1/model/files/{path}").status_code == 404


def test_health_and_readiness(app: Flask, client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}
    assert client.get("/readyz").get_json() == {"status": "ready"}
    app.extensions[EXTENSION].draining = True
    try:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    finally:
        app.extensions[EXTENSION].draining = False


def test_metrics_count_predictions_and_refusals(jpeg: bytes) -> None:
    client = create_app(configuration()).test_client()
    label = client.post("/api/v1/predict", **form(jpeg)).get_json()["label"]
    client.post("/api/v1/predict", **form(b"no image"))
    text = client.get("/metrics").get_data(as_text=True)
    assert f'dermedge_predictions_total{{label="{label}",variant="onnx-int8",verdict="diagnosis"}} 1.0' in text
    assert 'dermedge_refusals_total{status="422"} 1.0' in text
    assert 'dermedge_requests_total{method="POST",route="/api/v1/predict",status="200"} 1.0' in text
    assert 'dermedge_engine_seconds_count{stage="features",variant="onnx-int8"} 1.0' in text


def test_metrics_can_be_switched_off() -> None:
    assert create_app(configuration(metrics=False)).test_client().get("/metrics").status_code == 404


def test_request_id_is_kept_when_it_is_well_formed(client: FlaskClient) -> None:
    for offered, kept in (("trace-12345678", True), ("<script>", False), ("short", False)):
        returned = client.get("/healthz", headers={"X-Request-ID": offered}).headers["X-Request-ID"]
        assert (returned == offered) is kept


def test_access_log_holds_no_image_name_or_address(
    client: FlaskClient, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="webapp.access"):
        client.post("/api/v1/predict?site=secret-query", **form(jpeg))
        client.get("/secret-path")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "webapp.access"]
    assert [(line["route"], line["status"]) for line in lines] == [("/api/v1/predict", 200), ("none", 404)]
    assert set(lines[0]) == {"request_id", "method", "route", "status", "ms", "request_bytes", "response_bytes"}
    for secret in ("lesion-0.jpg", "secret", "127.0.0.1"):
        assert secret not in caplog.text
