"""The bundle manifest's JSON Schema and its reference page, from the msgspec structs that read it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from edge_runtime.bundle.manifest import SCHEMA_VERSION, Manifest
from tools.reference.json_schema import markdown_text, type_text

INTRODUCTION = f"""# manifest.json

Schema version {SCHEMA_VERSION}; version 1, which lacks `weights`, is read too; other versions and unknown keys
are refused. Also available as a [JSON Schema](manifest.schema.json). How the files of a bundle fit
together is under [bundle format](bundle.md).
"""


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``manifest.json``."""
    schema = msgspec.json.schema(Manifest)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = markdown_text(definition["description"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "dermedge bundle manifest", **schema}


def manifest_schema_page() -> str:
    """Return the JSON Schema as the text of a file."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def manifest_page() -> str:
    """Return the reference page: one table for each object of the manifest, the whole first."""
    definitions = manifest_schema()["$defs"]
    names = ["Manifest", *[name for name in definitions if name != "Manifest"]]
    return "\n".join([INTRODUCTION, *[_section(name, definitions[name]) for name in names]])


def _section(name: str, definition: dict[str, Any]) -> str:
    text = definition.get("description", "")
    lines = [f"## {name}", "", text, ""] if text else [f"## {name}", ""]
    lines += ["| key | type | required |", "|---|---|---|"]
    required = set(definition.get("required", ()))
    for key, value in definition.get("properties", {}).items():
        needed = "yes" if key in required else f"no ({json.dumps(value.get('default'))})"
        lines.append(f"| `{key}` | {type_text(value)} | {needed} |")
    return "\n".join([*lines, ""])
