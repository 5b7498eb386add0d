"""The OpenAPI 3.1 document, generated from the routes and the structs of their requests and responses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from flask import Flask, request

from edge_runtime import __version__
from webapp.problems import MEDIA_TYPE, ProblemDocument
from webapp.requests.schemas import CLASS_CODE_FORMAT, BatchItemError, PredictionResponse

View = TypeVar("View", bound=Callable[..., Any])
_REFERENCES = "#/components/schemas/{name}"
_ATTRIBUTE = "openapi_operation"


@dataclass(frozen=True)
class Operation:
    """What the document says about one route beyond its path and method.

    ``responses`` maps a status to a struct (JSON), or to a media type; ``form`` is a struct of optional fields;
    ``images`` is how many images the request may hold; ``refusals`` are statuses with a problem document.
    """

    summary: str
    responses: dict[int, type[msgspec.Struct] | str]
    refusals: tuple[int, ...] = ()
    form: type[msgspec.Struct] | None = None
    images: int = 0
    path_parameters: dict[str, str] = field(default_factory=dict)
    secured: bool = True


def describe(operation: Operation) -> Callable[[View], View]:
    """Attach an operation's description to a view function; only described routes are in the document."""

    def attach(view: View) -> View:
        setattr(view, _ATTRIBUTE, operation)
        return view

    return attach


def described_routes(app: Flask) -> list[tuple[str, str, Operation]]:
    """Return ``(path, method, operation)`` of every described route, in path order."""
    routes = []
    for rule in app.url_map.iter_rules():
        operation = getattr(app.view_functions[rule.endpoint], _ATTRIBUTE, None)
        if operation is not None:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            method = "post" if "POST" in (rule.methods or ()) else "get"
            routes.append((path, method, operation))
    return sorted(routes, key=lambda route: route[:2])


def build_document(app: Flask, class_codes: Sequence[str], api_key_required: bool) -> dict[str, Any]:
    """Return the whole document as plain data; ``class_codes`` are the values of fields that name a class."""
    routes = described_routes(app)
    structs: list[type] = [ProblemDocument, PredictionResponse, BatchItemError]
    for _, _, operation in routes:
        structs += [response for response in operation.responses.values() if not isinstance(response, str)]
        structs += [operation.form] if operation.form else []
    unique = list(dict.fromkeys(structs))
    references, components = msgspec.json.schema_components(unique, ref_template=_REFERENCES)
    components = _with_class_codes(components, list(class_codes))
    by_struct = dict(zip(unique, references, strict=True))
    paths: dict[str, Any] = {}
    for path, method, operation in routes:
        described = _operation_object(path, method, operation, by_struct, components)
        if api_key_required and operation.secured:
            described["security"] = [{"apiKey": []}]
        paths.setdefault(path, {})[method] = described
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "dermedge",
            "version": __version__,
            "description": "Classifies dermoscopic images. Research software, not a medical device. Images are held in "
            "memory for the request and never stored.",
        },
        "servers": [{"url": f"{request.script_root}/"}],
        "paths": paths,
        "components": {"schemas": components},
    }
    if api_key_required:
        scheme = {"type": "http", "scheme": "bearer", "description": "The server's API key."}
        document["components"]["securitySchemes"] = {"apiKey": scheme}
    return document


def _with_class_codes(schema: Any, codes: list[str]) -> Any:
    """Return a schema with the model's class codes in the place of the format that stands for them."""
    if isinstance(schema, list):
        return [_with_class_codes(one, codes) for one in schema]
    if not isinstance(schema, dict):
        return schema
    filled = {key: _with_class_codes(value, codes) for key, value in schema.items()}
    if filled.get("format") == CLASS_CODE_FORMAT:
        del filled["format"]
        filled["enum"] = codes
    return filled


def _operation_object(
    path: str, method: str, operation: Operation, by_struct: dict[type, Any], components: dict[str, Any]
) -> dict[str, Any]:
    words = [word.strip("{}") for word in path.split("/") if word not in ("", "api", "v1")]
    described: dict[str, Any] = {"operationId": "_".join([method, *words]), "summary": operation.summary}
    if operation.path_parameters:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in operation.path_parameters.items()
        ]
    if operation.images:
        described["requestBody"] = _request_body(operation, components)
    described["responses"] = {
        **{str(status): _response(status, response, by_struct) for status, response in operation.responses.items()},
        **{
            str(status): {
                "description": HTTPStatus(status).phrase,
                "content": {MEDIA_TYPE: {"schema": by_struct[ProblemDocument]}},
            }
            for status in operation.refusals
        },
    }
    return described


def _response(status: int, response: type[msgspec.Struct] | str, by_struct: dict[type, Any]) -> dict[str, Any]:
    if isinstance(response, str):
        return {"description": HTTPStatus(status).phrase, "content": {response: {}}}
    description = (response.__doc__ or HTTPStatus(status).phrase).strip()
    return {"description": description, "content": {"application/json": {"schema": by_struct[response]}}}


def _request_body(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    """Describe the three ways to send images: a form or a JSON object with the optional fields, or the image alone."""
    fields = components[operation.form.__name__]["properties"] if operation.form else {}

    def fields_and_image(description: str, image: dict[str, Any]) -> dict[str, Any]:
        if operation.images > 1:
            image = {"type": "array", "items": image, "minItems": 1, "maxItems": operation.images}
        properties = {"image": {**image, "description": description}, **fields}
        return {"schema": {"type": "object", "required": ["image"], "properties": properties}}

    alone = {"schema": {"type": "string", "format": "binary", "description": "The bytes of one image file."}}
    base64 = {"type": "string", "contentEncoding": "base64"}
    content = {
        "multipart/form-data": fields_and_image("The bytes of the image file.", {"type": "string", "format": "binary"}),
        "application/json": fields_and_image("The image file in base64, or as a data URL.", base64),
        "image/*": alone,
        "application/octet-stream": alone,
    }
    text = "Optional fields may also stand in the query string, which is where they go beside an image alone."
    return {"required": True, "description": text, "content": content}
