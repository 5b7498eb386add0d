"""JSON Schema (2020-12) in words, for the reference pages of the manifest and the REST API."""

from __future__ import annotations

import json
import re
from typing import Any


def type_text(schema: dict[str, Any]) -> str:
    """Return what a value of the schema is, with links to the sections of the objects that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_text(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_text(schema.get('items', {}))}"
    if schema.get("format") == "binary":
        return "file"
    if isinstance(schema.get("additionalProperties"), dict) and not schema.get("properties"):
        return f"object of {type_text(schema['additionalProperties'])}"
    kind = schema.get("type", "any value")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def markdown_text(docstring: str) -> str:
    """Return a docstring as one paragraph of Markdown: ``code`` and :role:`names` become code, lines are joined."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"``\1``", " ".join(docstring.split()))
    return re.sub(r"``([^`]*)``", r"`\1`", text)
