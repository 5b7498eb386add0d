"""The page behind proxies, sign-in pages, gateways and full storage: it recovers from every foreign response."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.proxy import Foreign, ReverseProxy, reverse_proxy
from tests.webapp.conftest import running_server
from webapp.routes.assets import runs_on_device

OpenPage = Callable[..., Page]

SAVE_DATA = 'Object.defineProperty(navigator, "connection", { value: { saveData: true } });'
"""Keeps the page from loading the model, so that it depends on the server."""

KEPT = """async () => {
    const found = [];
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const { url } of await cache.keys()) {
            const response = await cache.match(url);
            found.push([name, new URL(url).pathname, (await response.text()).includes("Welcome to the hotel")]);
        }
    }
    return found;
}"""

needs_device = pytest.mark.skipif(not runs_on_device(), reason="the browser's files are not built")


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[str, int]]:
    with running_server(trusted_proxies=1) as address:
        yield address


@pytest.fixture
def proxy(upstream: tuple[str, int]) -> Iterator[ReverseProxy]:
    with reverse_proxy(upstream) as proxy:
        yield proxy


def open_at(open_page: OpenPage, proxy: ReverseProxy, *, on_device: bool = False, **options: object) -> Page:
    page = open_page("/", proxy.address, **options)
    if not on_device:
        page.add_init_script(SAVE_DATA)
        page.reload()
        page.wait_for_selector("html[data-ready]")
    return page


def wait_for_service_worker(page: Page) -> None:
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")


@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "not stripped"])
def test_whole_page_works_under_a_prefix(
    open_page: OpenPage, upstream: tuple[str, int], images: list[Path], strips: bool
) -> None:
    with reverse_proxy(upstream, "/clinic/skin", strips) as proxy:
        page = open_at(open_page, proxy)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(244, 246, 245)"
        page.set_input_files("#choose", images[0])
        expect(page.locator("#engine")).to_contain_text("on the server")
        page.locator("[data-sample*='mel']").click()
        expect(page.locator("#file-name")).to_have_text("mel.jpg")
        expect(page.locator("#engine")).not_to_be_empty()
        scope = page.evaluate("navigator.serviceWorker.ready.then(({ scope }) => scope)")
        assert scope == f"{proxy.address}/"
        browser = page.context.new_cdp_session(page)
        manifest = browser.send("Page.getAppManifest")
        assert manifest["errors"] == []
        assert json.loads(manifest["data"])["scope"] == "/clinic/skin/"
        wait_for_service_worker(page)
        page.get_by_role("navigation", name="dermedge").get_by_role("link", name="API").click()
        expect(page.get_by_role("heading", name="POST /api/v1/predict", exact=True)).to_be_visible()
        page.locator(".brand").click()
        page.wait_for_selector("html[data-ready]")
        page.context.set_offline(True)
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(244, 246, 245)"


@needs_device
def test_model_runs_in_the_browser_under_a_prefix(
    open_page: OpenPage, upstream: tuple[str, int], images: list[Path]
) -> None:
    with reverse_proxy(upstream, "/skin") as proxy:
        page = open_at(open_page, proxy, on_device=True)
        page.locator("#options summary").click()
        page.get_by_label("On this device").check()
        page.set_input_files("#choose", images[0])
        expect(page.locator("#engine")).to_contain_text("on this device", timeout=60_000)


JSON = {"Content-Type": "application/json"}
FOREIGN = {
    "sign-in page": Foreign(),
    "sign-in page called JSON": Foreign(headers=JSON),
    "other JSON": Foreign(body=b'{"status": "login required"}', headers=JSON),
    "JSON null": Foreign(body=b"null", headers=JSON),
    "half a prediction": Foreign(body=b'{"label": "mel", "verdict": "diagnosis", "probabilities": {}}', headers=JSON),
    "probabilities as text": Foreign(
        body=json.dumps(
            {
                "label": "mel",
                "verdict": "diagnosis",
                "probabilities": dict.fromkeys(("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), "1"),
                "timing_ms": {"decode": 1},
            }
        ).encode(),
        headers=JSON,
    ),
    "nothing": Foreign(body=b"", headers={}),
    "no content": Foreign(status=204, body=b"", headers={}),
    "bad gateway": Foreign(status=502),
    "problem of another kind": Foreign(status=503, body=b"{}", headers={"Content-Type": "application/problem+json"}),
    "network authentication required": Foreign(status=511),
    "redirect to a sign-in page": Foreign(status=302, headers={"Location": "/login"}),
    "hang-up": Foreign(status=0),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_response_to_an_image_is_named_and_the_next_one_goes(
    open_page: OpenPage, proxy: ReverseProxy, images: list[Path], kind: str
) -> None:
    page = open_at(open_page, proxy, service_workers="block")
    proxy.intercept = lambda method, path: FOREIGN[kind] if method == "POST" or path == "/login" else None
    page.set_input_files("#choose", images[:2])
    expect(page.locator("#headline")).to_have_text("No prediction")
    unreachable = kind in ("redirect to a sign-in page", "hang-up")
    expect(page.locator("#failure")).to_contain_text("cannot be reached" if unreachable else "sign-in page")
    expect(page.locator(".thumb", has_text="No prediction")).to_have_count(2)
    proxy.intercept = None
    page.set_input_files("#choose", images[2])
    page.locator(".thumb").nth(2).click()
    expect(page.locator("#engine")).to_contain_text("on the server")
    open_page.errors.clear()  # the browser logs each failed request


def test_foreign_response_to_a_sample_is_named(open_page: OpenPage, proxy: ReverseProxy, images: list[Path]) -> None:
    proxy.intercept = lambda _, path: Foreign() if "/samples/" in path else None
    page = open_at(open_page, proxy, service_workers="block")
    page.locator("[data-sample*='mel']").click()
    expect(page.locator("#failure")).to_contain_text("cannot be reached")
    page.set_input_files("#choose", images[0])
    page.locator(".thumb").nth(1).click()
    expect(page.locator("#engine")).to_contain_text("on the server")
    open_page.errors.clear()


def test_kept_page_opens_behind_a_sign_in_page_and_nothing_foreign_is_kept(
    open_page: OpenPage, proxy: ReverseProxy, images: list[Path]
) -> None:
    page = open_at(open_page, proxy)
    wait_for_service_worker(page)
    proxy.intercept = lambda *_: Foreign()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.evaluate("fetch('/assets/000000000000/js/main.js').catch(() => null)")
    found = page.evaluate(KEPT)
    assert [path for _, path, foreign in found if foreign] == []
    assert "/" in {path for _, path, _ in found}
    proxy.intercept = None
    page.set_input_files("#choose", images[0])
    expect(page.locator("#engine")).to_contain_text("on the server")
    open_page.errors.clear()


def test_service_worker_does_not_begin_with_foreign_files(open_page: OpenPage, proxy: ReverseProxy) -> None:
    proxy.intercept = lambda _, path: Foreign() if path.endswith("/samples/df.jpg") else None
    page = open_page("/", proxy.address)
    page.wait_for_function(
        """async () => {
            const registration = await navigator.serviceWorker.getRegistration();
            return !registration || (!registration.installing && !registration.active);
        }"""
    )
    assert page.evaluate("navigator.serviceWorker.controller") is None
    assert [path for _, path, foreign in page.evaluate(KEPT) if foreign] == []
    open_page.errors.clear()


@needs_device
def test_foreign_model_files_are_refused_and_asked_for_again(
    open_page: OpenPage, proxy: ReverseProxy, images: list[Path]
) -> None:
    proxy.intercept = lambda _, path: Foreign() if "/model/files/" in path else None
    page = open_at(open_page, proxy, on_device=True)
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("sent something else than the model", timeout=60_000)
    proxy.intercept = None
    page.get_by_label("On this device").check()
    page.set_input_files("#choose", images[0])
    expect(page.locator("#engine")).to_contain_text("on this device", timeout=60_000)
    open_page.errors.clear()


def assert_model_is_used_for_this_visit(page: Page, image: Path) -> None:
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("until this page is closed", timeout=60_000)
    page.get_by_label("On this device").check()
    page.set_input_files("#choose", image)
    expect(page.locator("#engine")).to_contain_text("on this device", timeout=60_000)


@needs_device
def test_model_is_used_when_storage_is_full(open_page: OpenPage, proxy: ReverseProxy, images: list[Path]) -> None:
    page = open_page("/model-card", proxy.address)
    quota = {"origin": proxy.address, "quotaSize": 1000}
    page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
    page.goto(proxy.address)
    page.wait_for_selector("html[data-ready]")
    assert_model_is_used_for_this_visit(page, images[0])
    open_page.errors.clear()


@needs_device
def test_model_is_used_when_there_is_no_storage(open_page: OpenPage, proxy: ReverseProxy, images: list[Path]) -> None:
    page = open_page("/model-card", proxy.address, service_workers="block")

    def without_storage(route: Route) -> None:
        denied = 'caches.open = async () => { throw new DOMException("denied", "SecurityError"); };\n'
        route.fulfill(body=denied + route.fetch().text(), content_type="text/javascript")

    page.route("**/device-worker.js", without_storage)
    page.goto(proxy.address)
    page.wait_for_selector("html[data-ready]")
    assert_model_is_used_for_this_visit(page, images[0])
    open_page.errors.clear()
