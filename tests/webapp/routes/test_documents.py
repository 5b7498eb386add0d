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

GUIDE = (REPOSITORY / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
THREATS = (REPOSITORY / "docs" / "threat-model.md").read_text(encoding="utf-8")


def test_every_route_is_documented(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/api/", "/healthz", "/readyz", "/metrics")):
            assert rule.rule in GUIDE, rule.rule


def test_every_threat_names_tests_that_exist() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")}
    rows = [line.split("|")[1:-1] for line in THREATS.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for threat, _, tests in rows:
        named = re.findall(r"`(?:(?:tests/[\w/]+/)?(test_\w+\.py)(?:::)?)?([\w…]*)`", tests)
        assert named, threat
        assert named[0][0], threat
        file = ""
        for in_file, name in named:  # "…part…" is a test of the file named before
            file = in_file or file
            found = re.findall(r"^def (test_\w+)", files[file], re.MULTILINE)
            pattern = name.replace("…", r"\w*")
            assert not name or any(re.fullmatch(pattern, each) for each in found), f"{threat}: {file}::{name}"


def test_every_file_that_the_guide_names_exists() -> None:
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


def test_lock_file_pins_everything_with_a_checksum() -> None:
    lock = json.loads((REPOSITORY / "webapp" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert "node_modules/@litertjs/core" in packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
