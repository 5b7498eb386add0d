"""When the thresholds say so, the page gives no diagnosis; what a model or a server asks for is asked for."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, Route, expect

from edge_runtime import Classifier
from edge_runtime.bundle.manifest import PatientMetadataSpec, Thresholds, read_manifest, write_manifest
from tests.conftest import TINY_BUNDLE
from tests.webapp.conftest import configuration, form, running_server
from webapp import create_app

OpenPage = Callable[..., Page]


def changed_bundle(folder: Path, **changes: object) -> Path:
    """A copy of the tiny bundle with another manifest."""
    bundle = folder / "bundle"
    shutil.copytree(TINY_BUNDLE, bundle)
    write_manifest(bundle, msgspec.structs.replace(read_manifest(bundle), **changes))
    return bundle


def test_not_sure_is_said_instead_of_a_guess(open_page: OpenPage, images: list[Path], tmp_path: Path) -> None:
    bundle = changed_bundle(tmp_path, thresholds=Thresholds(not_sure_below=0.99, coverage=0.5))
    with running_server(bundle=bundle) as (host, port):
        page = open_page(base=f"http://{host}:{port}")
        page.set_input_files("#choose", images[0])
        expect(page.locator("#headline")).to_have_text("Not sure")
        expect(page.locator("#meaning")).to_contain_text("No diagnosis is probable enough")
        expect(page.locator(".facts")).to_be_hidden()
        expect(page.locator("#bars-block")).to_be_visible()
        expect(page.locator("#announcement")).to_contain_text("lesion-0.jpg: Not sure. Classified")


def test_other_images_get_no_diagnosis_and_no_map(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
        body = {**classifier.predict(images[0]).to_json("lesion-0.jpg"), "verdict": "not_a_lesion_image"}

    def respond(route: Route) -> None:
        route.fulfill(body=json.dumps(body), content_type="application/json")

    page.route("**/api/v1/predict", respond)
    page.set_input_files("#choose", images[0])
    expect(page.locator("#headline")).to_have_text("This does not look like a dermoscopic image")
    expect(page.locator("#bars-block")).to_be_hidden()
    expect(page.locator("#heat")).to_be_hidden()
    expect(page.locator("#image")).to_be_visible()


def test_server_with_a_key_lets_the_reader_type_it(open_page: OpenPage, images: list[Path]) -> None:
    with running_server(api_key="ward-7") as (host, port):
        page = open_page(base=f"http://{host}:{port}")
        page.set_input_files("#choose", images[0])
        expect(page.locator("#failure")).to_contain_text("API key")
        page.locator("#options summary").click()
        page.get_by_label("API key of this server").fill("ward-7")
        page.set_input_files("#choose", images[1])
        page.locator(".thumb").nth(1).click()
        expect(page.locator("#engine")).to_contain_text("on the server")
        open_page.errors[:] = [error for error in open_page.errors if "401" not in error]


def test_patient_fields_are_there_for_models_that_take_them(tmp_path: Path, images: list[Path]) -> None:
    specification = PatientMetadataSpec(age_scale_years=100.0, sexes=["female", "male"], sites=["back", "face"])
    bundle = changed_bundle(tmp_path, patient_metadata=specification)
    client = create_app(configuration(bundle=bundle)).test_client()
    page = client.get("/").get_data(as_text=True)
    for field in ('id="age"', 'id="sex"', 'id="site"', "<option>female</option>", "<option>face</option>"):
        assert field in page
    refused = client.post("/api/v1/predict", **form(images[0].read_bytes(), sex="robot"))
    assert refused.status_code == 400
    assert refused.get_json()["detail"] == "field sex: expected one of female, male or unknown, found 'robot'"


def test_patient_fields_go_with_the_image(open_page: OpenPage, tmp_path: Path, images: list[Path]) -> None:
    specification = PatientMetadataSpec(age_scale_years=100.0, sexes=["female", "male"], sites=["back", "face"])
    with running_server(bundle=changed_bundle(tmp_path, patient_metadata=specification)) as (host, port):
        page = open_page(base=f"http://{host}:{port}")
        page.locator("#options summary").click()
        page.get_by_label("Age in years").fill("61")
        page.get_by_label("Sex").select_option("female")
        sent: list[str] = []

        def respond(route: Route) -> None:  # the tiny graphs take no such input
            sent.append((route.request.post_data_buffer or b"").decode("latin-1"))
            route.fulfill(status=422, body=json.dumps({"detail": "no"}), content_type="application/problem+json")

        page.route("**/api/v1/predict", respond)
        page.set_input_files("#choose", images[0])
        expect(page.locator("#failure")).to_have_text("no")
        assert re.search(r'name="age"\s+61\r\n', sent[0])
        assert re.search(r'name="sex"\s+female\r\n', sent[0])
        assert 'name="site"' not in sent[0]
        open_page.errors[:] = [error for error in open_page.errors if "422" not in error]


def test_model_card_is_a_click_away(open_page: OpenPage, tmp_path: Path) -> None:
    bundle = changed_bundle(tmp_path)
    (bundle / "README.md").write_text("# What this model is\n")
    with running_server(bundle=bundle) as (host, port):
        page = open_page(base=f"http://{host}:{port}")
        page.get_by_role("navigation", name="dermedge").get_by_role("link", name="Model card").click()
        expect(page.get_by_role("heading", name="What this model is")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_failure_is_readable_and_keeps_the_focus_order(open_page: OpenPage, tmp_path: Path, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#choose", tmp_path / "notes.txt")
    expect(page.locator("#headline")).to_have_text("No prediction")
    order = page.evaluate("[...document.querySelectorAll('main [id]')].map((element) => element.id)")
    assert order.index("intake") < order.index("headline") < order.index("bars") < order.index("image")
