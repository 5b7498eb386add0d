"""``/api/v1/openapi.json`` its readable page, and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template
from markdown_it import MarkdownIt

from webapp.problems import RefusalError
from webapp.requests.openapi import build_document
from webapp.state import server_state
from webapp.texts import TEXTS

blueprint = Blueprint("documents", __name__)

CARD_NAME = "README.md"


@blueprint.get("/api/v1/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI 3.1 document of this server."""
    return jsonify(_document())


@blueprint.get("/api/v1/docs")
def docs() -> str:
    """Show the same document as a readable page."""
    return render_template("api_docs.html", texts=TEXTS, document=_document())


@blueprint.get("/model-card")
def model_card() -> str:
    """Show the bundle's model card. Raw HTML in it is shown as text."""
    state = server_state()
    card = _read_card(state.engines.bundle / CARD_NAME)
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    return render_template("model_card.html", texts=TEXTS, manifest=state.engines.manifest, card=renderer.render(card))


def _document() -> dict[str, Any]:
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    state = server_state()
    codes = state.engines.manifest.class_set.codes
    return build_document(app, codes, state.configuration.api_key is not None)


def _read_card(path: Path) -> str:
    """Return the card's text without the front matter that model hubs read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise RefusalError(404, "the loaded bundle has no model card") from None
    if text.startswith("---\n"):
        _, _, text = text[4:].partition("\n---\n")
    return text
