"""axe-core's rules for WCAG 2.2 A and AA on every page, in both themes, in every state the page can be in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import REPOSITORY, TINY_BUNDLE
from tests.webapp.conftest import running_server

OpenPage = Callable[..., Page]

AXE = REPOSITORY / "webapp" / "node_modules" / "axe-core" / "axe.min.js"
if not AXE.is_file():
    pytest.skip("axe-core is not installed (npm ci in webapp/)", allow_module_level=True)

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """Return what axe-core objects to, one line each."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run(document, { runOnly: tags })", RULES)
    assert len(found["passes"]) > 10  # it did look
    return [f"{each['id']}: {node['html'][:160]}" for each in found["violations"] for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_before_and_after_a_prediction(
    open_page: OpenPage, images: list[Path], tmp_path: Path, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 860}, reduced_motion="reduce")
    assert violations(page) == []
    page.locator("#options summary").click()
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#choose", [images[0], tmp_path / "notes.txt"])
    expect(page.locator(".thumb", has_text="…")).to_have_count(0)
    expect(page.locator("#engine")).not_to_be_empty()
    page.get_by_role("button", name="Compare engines").click()
    expect(page.locator("#compare-rows")).to_contain_text("reference")
    page.locator("#history summary").click()
    assert violations(page) == []
    page.locator(".thumb").nth(1).click()
    expect(page.locator("#failure")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_other_pages(open_page: OpenPage, tmp_path: Path, scheme: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(TINY_BUNDLE, bundle)
    (bundle / "README.md").write_text("# The card\n\n## Results\n\n| a | b |\n|---|---|\n| 1 | `2` |\n\n[link](/)\n")
    with running_server(bundle=bundle) as (host, port):
        for path in ("/model-card", "/api/v1/docs"):
            assert violations(open_page(path, f"http://{host}:{port}", color_scheme=scheme)) == []
