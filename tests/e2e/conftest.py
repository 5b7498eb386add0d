"""A real Chromium and a real server for the page's tests.

They are skipped, with the reason, where there is no Chromium; with ``DERMEDGE_REQUIRE_BROWSER=1`` they fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.webapp.conftest import running_server

expect.set_options(timeout=60_000)  # milliseconds; a busy machine is no fault of the page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for all tests."""
    executable = os.environ.get("DERMEDGE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        if os.environ.get("DERMEDGE_REQUIRE_BROWSER") == "1":
            pytest.fail("DERMEDGE_REQUIRE_BROWSER=1, but no Chromium was found")
        pytest.skip(f"no Chromium found ({', '.join(CHROMIUM_NAMES)}); name one in $DERMEDGE_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Address of a server on the tiny bundle."""
    with running_server() as (host, port):
        yield f"http://{host}:{port}"


class ConsoleError(AssertionError):
    """The page wrote an error to the browser's console."""


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[object]:
    """Open the page with a viewport and theme of choice; fails the test when the page logs an error."""
    contexts = []
    errors: list[str] = []

    def open_it(path: str = "/", base: str | None = None, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((base or address) + path)
        if path == "/":
            page.wait_for_selector("html[data-ready]")
        return page

    open_it.errors = errors
    yield open_it
    for context in contexts:
        context.close()
    if errors:
        raise ConsoleError("; ".join(errors))


@pytest.fixture(scope="session")
def images(image_folder: Path) -> list[Path]:
    """Six JPEGs."""
    return sorted(image_folder.iterdir())
