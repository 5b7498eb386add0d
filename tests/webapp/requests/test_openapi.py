"""The OpenAPI document is compared with a running server: by schemathesis, and by hand where it cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings

from tests.webapp.conftest import form, running_server
from webapp.requests.openapi import described_routes
from webapp.requests.schemas import BatchResponse, ModelResponse, PredictionResponse

schemathesis = pytest.importorskip("schemathesis")
conformance = pytest.importorskip("schemathesis.specs.openapi.checks")

CHECKS = [
    schemathesis.checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
]
OPERATIONS = 7


@pytest.fixture(scope="module")
def api_schema() -> Iterator[Any]:
    """The document as schemathesis reads it from a running server, which then gets the requests."""
    with running_server() as (host, port):
        yield schemathesis.openapi.from_url(f"http://{host}:{port}/api/v1/openapi.json")


@pytest.mark.parametrize("number", range(OPERATIONS))
def test_every_response_is_as_documented(api_schema: Any, number: int) -> None:
    operations = [each.ok() for each in api_schema.get_all_operations()]
    assert len(operations) == OPERATIONS

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operations[number].as_strategy())
    def hold(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    hold()


def test_document_describes_every_api_route(app: Any, client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    undocumented = {"/api/v1/openapi.json", "/api/v1/docs"}
    api_rules = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")} - undocumented
    described = {path for path, _, _ in described_routes(app)}
    assert len(api_rules) == len({path for path in described if path.startswith("/api/")})
    assert set(document["paths"]) == described


def test_responses_fit_their_structs(client: FlaskClient, jpeg: bytes) -> None:
    response = client.post("/api/v1/predict", **form(jpeg, explain="1", picture="1"))
    decoded = msgspec.json.decode(response.data, type=PredictionResponse)
    assert decoded.overlay
    assert decoded.picture
    assert set(response.get_json()) == set(PredictionResponse.__struct_fields__)
    batch = client.post("/api/v1/predict/batch", **form(jpeg, jpeg))
    assert len(msgspec.json.decode(batch.data, type=BatchResponse).results) == 2
    model = client.get("/api/v1/model")
    msgspec.json.decode(model.data, type=ModelResponse)
    assert set(model.get_json()) == set(ModelResponse.__struct_fields__)


def test_docs_page_names_every_route_and_field(client: FlaskClient) -> None:
    page = client.get("/api/v1/docs").get_data(as_text=True)
    document = client.get("/api/v1/openapi.json").get_json()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page
    for component in document["components"]["schemas"].values():
        for field in component["properties"]:
            assert f"<code>{field}</code>" in page
