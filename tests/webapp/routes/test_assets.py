"""The page's files under their versioned address, the service worker, the texts, and the colours' contrast."""

from __future__ import annotations

import gzip
import json
import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.routes import assets
from webapp.texts import TEXTS


def assets_prefix(client: FlaskClient) -> str:
    found = re.search(r"/assets/[0-9a-f]{12}", client.get("/").get_data(as_text=True))
    assert found is not None
    return found[0]


def test_files_of_this_version_may_be_kept_for_ever(client: FlaskClient) -> None:
    response = client.get(f"{assets_prefix(client)}/style.css", buffered=True)
    assert response.data == (assets.STATIC / "style.css").read_bytes()
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path", ["/assets/000000000000/style.css", "{0}/nothing.js", "{0}/../texts.py", "{0}/%2e%2e/texts.py"]
)
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    assert client.get(path.format(assets_prefix(client))).status_code == 404


def test_every_module_a_script_imports_is_there() -> None:
    scripts = assets.STATIC / "js"
    for script in scripts.glob("*.js"):
        for name in re.findall(r'from "\./([\w-]+\.js)"', script.read_text(encoding="utf-8")):
            assert (scripts / name).is_file(), f"{script.name} imports {name}"


def test_files_that_lie_there_compressed_are_sent_so(
    client: FlaskClient, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine.wasm").write_bytes(b"wasm" * 100)
    (tmp_path / "engine.wasm.gz").write_bytes(gzip.compress(b"wasm" * 100))
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    prefix = assets_prefix(client)
    plain = client.get(f"{prefix}/engine.wasm", buffered=True)
    assert (plain.data, plain.content_type) == (b"wasm" * 100, "application/wasm")
    packed = client.get(f"{prefix}/engine.wasm", headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert (packed.headers["Content-Encoding"], packed.content_type) == ("gzip", "application/wasm")
    assert gzip.decompress(packed.data) == plain.data


def test_version_changes_with_the_content(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "STATIC", tmp_path / "static")
    monkeypatch.setattr(assets, "_PAGE_FOLDERS", (tmp_path / "static",))
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.js").write_text("one")
    first = assets.assets_version()
    (tmp_path / "static" / "a.js").write_text("two")
    assert assets.assets_version() != first


def test_service_worker_keeps_files_that_exist(app: Flask, client: FlaskClient) -> None:
    script = client.get("/service-worker.js").get_data(as_text=True)
    files = json.loads(re.search(r"const FILES = (\[.*\]);", script)[1])  # type: ignore[index]
    assert "/" in files
    assert any(file.endswith("/js/main.js") for file in files)
    for file in files:
        assert client.get(file, buffered=True).status_code == 200, file


def test_web_manifest_names_icons_that_exist(client: FlaskClient) -> None:
    manifest = client.get("/manifest.webmanifest").get_json(force=True)
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        assert client.get(icon["src"], buffered=True).status_code == 200


def text_values(texts: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in texts.items():
        if isinstance(value, dict):
            yield from text_values(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def test_texts_are_used_and_their_places_are_named() -> None:
    folder = assets.STATIC.parent
    sources = [*folder.rglob("templates/*.html"), *(assets.STATIC / "js").glob("*.js")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for path, text in text_values(TEXTS):
        last = path.rsplit(".", 1)[-1]
        by_name = path.startswith(("classes.", "options.")) or last.endswith("_text")
        assert by_name or re.search(rf"\b{last}\b", code), f"text {path!r} is used nowhere"
        for _, place, _, _ in string.Formatter().parse(text):
            assert place is None or place.isidentifier(), path


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


STYLE = (assets.STATIC / "style.css").read_text(encoding="utf-8")
COLOURS = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", STYLE)
THEMES = {"light": {name: light for name, light, _ in COLOURS}, "dark": {name: dark for name, _, dark in COLOURS}}
TEXT_ON = [
    ("ink", "page"), ("ink", "surface"), ("ink", "sunken"), ("ink", "accent-soft"), ("muted", "page"),
    ("muted", "surface"), ("muted", "sunken"), ("muted", "accent-soft"), ("accent", "surface"), ("accent", "page"),
    ("accent", "accent-soft"), ("accent-ink", "accent"), ("alarm", "surface"), ("alarm", "alarm-soft"),
    ("alarm", "accent-soft"), ("alarm", "sunken"), ("demo", "demo-soft"),
]  # fmt: skip
GRAPHICS_ON = [("control", "surface"), ("fill", "surface"), ("fill-malignant", "surface"), ("accent", "page")]


def test_every_colour_of_the_page_is_defined_once_for_both_themes() -> None:
    names = [name for name, _, _ in COLOURS]
    assert len(names) == len(set(names))
    assert len(names) >= len({name for pair in TEXT_ON + GRAPHICS_ON for name in pair})
    rules = STYLE.partition("*, *::before")[2]
    assert re.findall(r"#[0-9a-f]{3,8}\b|rgb\(", rules) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT_ON, 4.5), (GRAPHICS_ON, 3.0)], ids=["text", "graphics"])
def test_contrast_meets_wcag_aa(theme: str, pairs: list[tuple[str, str]], least: float) -> None:
    colours = THEMES[theme]
    for front, back in pairs:
        found = contrast(colours[front], colours[back])
        assert found >= least, f"{front} on {back}: {found:.2f}"
