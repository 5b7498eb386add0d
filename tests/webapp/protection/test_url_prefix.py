"""The server under a prefix: every address it gives out begins with it, and only trusted prefixes count."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from edge_runtime.errors import DataError
from tests.webapp.conftest import configuration, form
from webapp import create_app
from webapp.protection.url_prefix import normalised

ADDRESS = re.compile(r"""(?:href|src|data-sample)="(/[^"]*)"|"(/(?:assets|api|skin)/[^"]*)\"""")


def addresses(text: str) -> set[str]:
    """Every absolute path that a page or script mentions."""
    return {first or second for first, second in ADDRESS.findall(text)}


def proxied(**changes: Any) -> FlaskClient:
    return create_app(configuration(trusted_proxies=1, **changes)).test_client()


WAYS = {
    "header, stripped": (proxied, {}, {"X-Forwarded-Prefix": "/skin"}, ""),
    "header, not stripped": (proxied, {}, {"X-Forwarded-Prefix": "/skin/"}, "/skin"),
    "SCRIPT_NAME": (lambda **_: create_app(configuration()).test_client(), {"SCRIPT_NAME": "/skin"}, {}, ""),
    "flag, stripped": (lambda **_: create_app(configuration(url_prefix="/skin")).test_client(), {}, {}, ""),
    "flag, not stripped": (lambda **_: create_app(configuration(url_prefix="skin/")).test_client(), {}, {}, "/skin"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_address_begins_with_the_prefix(way: str, jpeg: bytes) -> None:
    make, environment, headers, path = WAYS[way]
    client = make()
    options = {"environ_overrides": environment, "headers": headers, "buffered": True}
    for page in ("/", "/api/v1/docs", "/manifest.webmanifest", "/service-worker.js"):
        text = client.get(path + page, **options).get_data(as_text=True)
        found = addresses(text)
        assert found, page
        assert all(each.startswith("/skin/") for each in found), (page, found)
    worker = client.get(f"{path}/service-worker.js", **options).get_data(as_text=True)
    kept = json.loads(re.search(r"const FILES = (\[.*\]);", worker)[1])  # type: ignore[index]
    assert "/skin/" in kept
    assert all(file.startswith("/skin/") for file in kept)
    manifest = json.loads(client.get(f"{path}/manifest.webmanifest", **options).data)
    assert (manifest["scope"], manifest["start_url"], manifest["id"]) == ("/skin/", "/skin/", "/skin/")
    for file in client.get(f"{path}/api/v1/model", **options).get_json()["files"]:
        assert file["url"].startswith("/skin/api/v1/model/files/")
    assert client.get(f"{path}/api/v1/openapi.json", **options).get_json()["servers"] == [{"url": "/skin/"}]
    assert client.post(f"{path}/api/v1/predict", **options, **form(jpeg)).status_code == 200


def test_the_prefix_alone_leads_to_the_page() -> None:
    response = create_app(configuration(url_prefix="/skin")).test_client().get("/skin")
    assert (response.status_code, response.headers["Location"]) == (308, "/skin/")


def test_a_prefix_from_a_stranger_counts_for_nothing(client: FlaskClient) -> None:
    page = client.get("/", headers={"X-Forwarded-Prefix": "/skin"}).get_data(as_text=True)
    assert "/skin" not in page


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "https://evil.example", "/a b", '/"><script>', "/a//b", "/\u00e4?", "/a#b"]
)
def test_only_plain_paths_are_prefixes(prefix: str) -> None:
    assert normalised(prefix) == ""
    with pytest.raises(DataError, match="--url-prefix: expected a path like /skin, found"):
        create_app(configuration(url_prefix=prefix))
    page = proxied().get("/", headers={"X-Forwarded-Prefix": prefix.encode().decode("latin-1")})
    assert page.status_code == 200
    assert "evil" not in page.get_data(as_text=True)
