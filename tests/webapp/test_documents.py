"""The documentation names every flag, route and test it should; the model card is shown and obeys nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from flask import Flask

from tests.conftest import REPOSITORY, TINY_BUNDLE
from tests.webapp.conftest import configuration
from webapp import create_app
from webapp.__main__ import build_parser

GUIDE = (REPOSITORY / "docs" / "web.md").read_text(encoding="utf-8")
THREATS = (REPOSITORY / "docs" / "threat-model.md").read_text(encoding="utf-8")


def test_every_flag_is_documented_and_no_other() -> None:
    flags = {option for action in build_parser()._actions for option in action.option_strings if len(option) > 2}
    documented = set(re.findall(r"`(--[a-z-]+)`", GUIDE))
    assert documented == flags - {"--help"}


def test_every_route_is_documented(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/api/", "/healthz", "/readyz", "/metrics")):
            assert rule.rule in GUIDE, rule.rule


def test_every_file_and_test_that_the_documents_name_exists() -> None:
    tests = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")}
    for name, rest in re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)(?:::(test_\w+)…?)?", THREATS):
        assert name in tests, name
        assert f"def {rest}" in tests[name], f"{name}::{rest}"
    for path in re.findall(r"`((?:webapp|deploy|tests)/[\w./-]+)`", GUIDE):
        assert (REPOSITORY / path).exists() or path == "webapp/static/litert/", path


def test_model_card_is_shown_and_its_markup_is_text(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(TINY_BUNDLE, bundle)
    card = "---\nlicense: x\n---\n# The card\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>alert(1)</script>\n"
    (bundle / "README.md").write_text(card, encoding="utf-8")
    client = create_app(configuration(bundle=bundle)).test_client()
    page = client.get("/model-card").get_data(as_text=True)
    assert "<h1>The card</h1>" in page
    assert "<td>2</td>" in page
    assert "license: x" not in page
    assert "<script>alert" not in page
    (bundle / "README.md").unlink()
    missing = client.get("/model-card")
    assert (missing.status_code, missing.get_json()["detail"]) == (404, "the loaded bundle has no model card")


def test_lock_file_pins_everything_with_a_sum() -> None:
    lock = json.loads((REPOSITORY / "webapp" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert "node_modules/@litertjs/core" in packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
