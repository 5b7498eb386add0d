"""The reference page of the REST API, from the OpenAPI document that the server itself serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.reference.json_schema import markdown_text, type_text
from webapp import create_app
from webapp.configuration import WebConfiguration

BUNDLE = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tiny_bundle"
"""A server needs a bundle to describe itself; which one changes nothing in the document."""

OPERATIONS = """## Operations

| route | purpose |
|---|---|
| `GET /healthz` | the process responds |
| `GET /readyz` | new requests are welcome; 503 while the server drains or its queue is full |
| `GET /metrics` | Prometheus metrics, unless the server runs with `--no-metrics` |
"""


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of a server without an API key."""
    response = create_app(WebConfiguration(bundle=BUNDLE)).test_client().get("/api/v1/openapi.json")
    document: dict[str, Any] = response.get_json()
    return document


def rest_page() -> str:
    """Return the page in Markdown: every route with its fields and responses, then every object."""
    document = openapi_document()
    lines = ["# REST API", "", document["info"]["description"], ""]
    lines += ["The server shows this document at `/api/v1/docs` and serves it at `/api/v1/openapi.json`.", ""]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += _route(f"{method.upper()} {path}", operation)
    lines += [OPERATIONS, "## Objects", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", ""]
        lines += [markdown_text(schema["description"]), ""] if schema.get("description") else []
        lines += [*_fields(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _route(title: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"## {title}", "", operation["summary"].rstrip(".") + ".", ""]
    for parameter in operation.get("parameters", ()):
        lines += [f"- `{parameter['name']}` ({parameter['in']}): {parameter.get('description', '')}"]
    lines += [""] if operation.get("parameters") else []
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += [f"Request body, `{media_type}`:", "", *_fields(content.get("schema", {})), ""]
    lines += ["| status | meaning | body |", "|---|---|---|"]
    for status, response in operation["responses"].items():
        bodies = [
            f"`{media_type}` {type_text(content['schema'])}" if content.get("schema") else f"`{media_type}`"
            for media_type, content in response.get("content", {}).items()
        ]
        lines.append(f"| {status} | {markdown_text(response['description'])} | {', '.join(bodies)} |")
    return [*lines, ""]


def _fields(schema: dict[str, Any]) -> list[str]:
    if not schema.get("properties"):
        return [f"{type_text(schema)}."]
    required = set(schema.get("required", ()))
    rows = []
    for name, value in schema["properties"].items():
        meaning = markdown_text(value.get("description", "")).replace("|", "\\|")
        rows.append(f"| `{name}` | {type_text(value)} | {'yes' if name in required else 'no'} | {meaning} |")
    return ["| field | type | required | meaning |", "|---|---|---|---|", *rows]
