"""The API and the page show the classes of the bundle that the server loaded, whatever they are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from edge_runtime.bundle.classes import LesionClass
from edge_runtime.bundle.manifest import read_manifest, write_manifest
from tests.conftest import TINY_BUNDLE
from tests.webapp.conftest import form

CODES = ("one", "two", "three", "four", "five", "six", "seven")


@pytest.fixture
def client(make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """A client of a server with other classes; only the first has a synonym that a sample is named after."""
    bundle = Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))
    classes = [LesionClass(code, code.title(), False, "other", f"About {code}.") for code in CODES]
    classes[0] = LesionClass("one", "One", True, "malignant", "About one.", ("mel",))
    write_manifest(bundle, msgspec.structs.replace(read_manifest(bundle), classes=classes))
    return make_client(bundle=bundle)


def test_model_and_predictions(client: FlaskClient, jpeg: bytes) -> None:
    classes = client.get("/api/v1/model").get_json()["classes"]
    assert classes[0] == {
        "code": "one", "name": "One", "malignant": True, "group": "malignant", "meaning": "About one.",
    }  # fmt: skip
    assert classes[6]["group"] == "other"
    body = client.post("/api/v1/predict", **form(jpeg, explain="map", explain_class="four")).get_json()
    assert tuple(body["probabilities"]) == CODES
    assert body["explained_class"] == "four"
    refusal = client.post("/api/v1/predict", **form(jpeg, explain_class="mel"))
    assert refusal.status_code == 400
    assert refusal.get_json()["detail"] == (
        "field 'explain_class': expected one of one two three four five six seven, found 'mel'"
    )


def test_the_api_document_lists_them(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").get_json()
    assert document["components"]["schemas"]["PredictionResponse"]["properties"]["label"]["enum"] == list(CODES)
    assert "class-code" not in json.dumps(document)
    assert "akiec" not in json.dumps(document)


def test_the_page_shows_them(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    assert tuple(re.findall(r'data-code="(.*?)"', page)) == CODES
    assert re.findall(r'data-sample="[^"]*/(\w+\.jpg)" title="(\w+)"', page) == [("mel.jpg", "One")]
    assert "nevus" not in page.lower()
