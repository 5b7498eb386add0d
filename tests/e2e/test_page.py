"""The page in a real Chromium: every way in, every part of the prediction."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.imaging.formats import HEIC, supported_formats
from edge_runtime.imaging.overlay import render_heat
from tests.conftest import TINY_BUNDLE, blob_image, encoded

OpenPage = Callable[..., Page]


def choose(page: Page, *paths: Path) -> None:
    page.set_input_files("#choose", list(paths))


def expected_prediction(path: Path) -> tuple[str, dict[str, float]]:
    with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
        prediction = classifier.predict(path)
    return next(each.name for each in ham10000().classes if each.code == prediction.label), prediction.probabilities


def test_choosing_an_image_shows_the_whole_prediction(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    expect(page.locator("#result")).to_be_hidden()
    choose(page, images[0])
    name, probabilities = expected_prediction(images[0])
    expect(page.locator("#headline")).to_have_text(name)
    expect(page.locator("#confidence")).to_have_text(f"{round(max(probabilities.values()) * 100)}\u00a0%")
    expect(page.locator("#group")).to_have_text(re.compile("malignant group|benign group"))
    expect(page.locator("#meaning")).not_to_be_empty()
    for lesion_class in ham10000().classes:
        bar = page.locator(f".bar[data-code={lesion_class.code}]")
        expect(bar).to_contain_text(lesion_class.name)
        expect(bar.locator(".value")).to_have_text(f"{round(probabilities[lesion_class.code] * 100)}\u00a0%")
        expect(bar.locator(".mark")).to_have_count(int(lesion_class.malignant))
    expect(page.locator("#engine")).to_have_text(re.compile(r"^ONNX int8 on the server · [\d.]+\sms$"))
    expect(page.locator("#image")).to_be_visible()
    expect(page.locator("#heat")).to_be_visible()
    expect(page.locator("#announcement")).to_have_text(
        re.compile(rf"lesion-0\.jpg: {re.escape(name)}, \d+\s%\. Classified")
    )


def test_disclaimer_demo_banner_and_privacy_are_there_at_once(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator(".notice")).to_contain_text("not a medical device")
    expect(page.locator("#demo-banner")).to_contain_text("DEMO")
    expect(page.locator("#privacy")).to_contain_text("never written to disk")
    page.get_by_role("navigation", name="dermedge").get_by_role("link", name="API").click()
    expect(page.get_by_role("heading", name="POST /api/v1/predict", exact=True)).to_be_visible()


def drop_or_paste(page: Page, kind: str, path: Path) -> None:
    """Fire the event a browser fires, with a real file in it."""
    page.evaluate(
        """([kind, name, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            const options = { bubbles: true, cancelable: true };
            const fire = (event) => document.body.dispatchEvent(event);
            if (kind === "paste") fire(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
            else for (const type of ["dragenter", "dragover", "drop"])
                fire(new DragEvent(type, { ...options, dataTransfer: transfer }));
        }""",
        [kind, path.name, base64.b64encode(path.read_bytes()).decode()],
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropping_and_pasting(open_page: OpenPage, images: list[Path], kind: str) -> None:
    page = open_page()
    drop_or_paste(page, kind, images[1])
    expect(page.locator("#headline")).to_have_text(expected_prediction(images[1])[0])
    expect(page.locator("body")).not_to_have_class(re.compile("dropping"))


def test_phone_offers_its_camera(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    expect(page.get_by_text("Take a photo")).to_be_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    page.set_input_files("#camera", images[2])
    expect(page.locator("#headline")).to_have_text(expected_prediction(images[2])[0])


def test_several_images_at_once(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    choose(page, *images[:3])
    expect(page.locator(".thumb")).to_have_count(3)
    for number in (2, 0):
        page.locator(".thumb").nth(number).click()
        expect(page.locator("#file-name")).to_have_text(f"lesion-{number}.jpg")
        expect(page.locator("#headline")).to_have_text(expected_prediction(images[number])[0])
    page.get_by_role("button", name="Remove lesion-0.jpg").click()
    expect(page.locator(".thumb")).to_have_count(2)
    expect(page.locator("#file-name")).to_have_text("lesion-2.jpg")


def test_unusable_image_says_why_and_spoils_nothing(open_page: OpenPage, images: list[Path], tmp_path: Path) -> None:
    page = open_page()
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(images[0].read_bytes()[:2000])
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    choose(page, damaged, text, images[0])
    expect(page.locator("#failure")).to_contain_text("damaged image")
    expect(page.locator("#bars-block")).to_be_hidden()
    page.locator(".thumb").nth(1).click()
    expect(page.locator("#failure")).to_contain_text("notes.txt is not an image in a supported format (JPEG, PNG")
    page.locator(".thumb").nth(2).click()
    expect(page.locator("#headline")).to_have_text(expected_prediction(images[0])[0])
    open_page.errors[:] = [error for error in open_page.errors if "422" not in error]  # the browser logs every refusal


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("lesion", ""),
        ("lesion.jpg", "image/jpg"),
        ("lesion.dat", "application/octet-stream"),
        ("lesion.png", "image/png"),
        ("lesion.jfif", ""),
        ("lesion.heic", "image/heic"),
    ],
)
def test_content_decides_and_not_the_name(open_page: OpenPage, images: list[Path], name: str, media_type: str) -> None:
    page = open_page()
    page.set_input_files("#choose", {"name": name, "mimeType": media_type, "buffer": images[0].read_bytes()})
    expect(page.locator("#file-name")).to_have_text(name)
    expect(page.locator("#headline")).to_have_text(expected_prediction(images[0])[0])


def test_page_offers_what_the_server_decodes(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    accepted = (page.locator("#choose").get_attribute("accept") or "").split(",")
    for image_format in supported_formats():
        expect(page.locator("#drop .hint")).to_contain_text(image_format.name)
        assert set(image_format.suffixes) <= set(accepted)
    if HEIC.is_supported:
        (tmp_path / "lesion.heic").write_bytes(heic_image())
        choose(page, tmp_path / "lesion.heic")
        expect(page.locator("#engine")).to_contain_text("on the server")
        assert page.locator("#image").evaluate("image => image.decode().then(() => image.naturalWidth)") == 224


def heic_image() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(blob_image(), "HEIF")


def test_a_sample_is_the_first_click(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("[data-sample]")).to_have_count(len(ham10000().classes))
    page.get_by_role("button", name="Sample: Melanoma").click()
    expect(page.locator("#file-name")).to_have_text("mel.jpg")
    expect(page.locator("#engine")).to_contain_text("on the server")
    expect(page.locator("#failure")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_raw_image_stands_beside_the_map(open_page: OpenPage, images: list[Path], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 860})
    choose(page, images[0])
    expect(page.locator("#heat")).to_have_attribute("data-code", re.compile("."))
    image, heat = (page.locator(f"#{name}").bounding_box() for name in ("image", "heat"))
    assert abs(image["y"] - heat["y"]) < 2
    assert abs(image["width"] - heat["width"]) < 2
    assert image["x"] + image["width"] <= heat["x"]


def test_texts_grow_on_a_wall_screen(open_page: OpenPage) -> None:
    sizes = []
    for width in (1280, 1920, 2560):
        page = open_page(viewport={"width": width, "height": 1080})
        sizes.append(float(page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")))
    assert sizes == sorted(set(sizes))


def test_no_request_leaves_the_server_and_the_first_paint_waits_for_little(open_page: OpenPage, address: str) -> None:
    page = open_page("/api/v1/docs")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    assert requested
    assert all(url.startswith((address, "data:", "blob:")) for url in requested)
    blocking = page.evaluate(
        """performance.getEntriesByType("resource")
            .filter(({ renderBlockingStatus }) => renderBlockingStatus === "blocking")
            .map(({ name, transferSize }) => [name.split("/").pop(), transferSize])"""
    )
    assert {name for name, _ in blocking} == {"style.css", "theme.js"}
    assert sum(size for _, size in blocking) < 40_000


def test_tiff_is_shown_although_browsers_cannot(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    blob_image(320, 240).save(tmp_path / "lesion.tif")
    choose(page, tmp_path / "lesion.tif")
    expect(page.locator("#engine")).not_to_be_empty()
    assert page.locator("#image").evaluate("image => image.decode().then(() => image.naturalWidth)") == 224


def canvas_pixels(page: Page) -> NDArray[np.uint8]:
    """Return the heat canvas as uint8 RGBA of shape (224, 224, 4)."""
    read = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let text = "";
        for (const byte of data) text += String.fromCharCode(byte);
        return btoa(text);
    }"""
    data = base64.b64decode(page.locator("#heat").evaluate(read))
    return np.frombuffer(data, dtype=np.uint8).reshape(224, 224, 4)


def test_any_bar_shows_its_own_map_drawn_as_the_runtime_draws_it(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    choose(page, images[0])
    expect(page.locator("#heat")).to_have_attribute("data-code", re.compile("."))
    with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
        for code in ("mel", "vasc"):
            page.locator(f".bar[data-code={code}]").click()
            expect(page.locator("#heat")).to_have_attribute("data-code", code)
            expect(page.locator(f".bar[data-code={code}]")).to_have_attribute("aria-pressed", "true")
            class_activation_map = classifier.predict(images[0], explain_class=code).class_activation_map
            assert class_activation_map is not None
            expected = np.asarray(render_heat(class_activation_map, 224, 224)).astype(int)
            if not class_activation_map.any():
                expected = np.zeros_like(expected)
            drawn = canvas_pixels(page).astype(int)
            assert np.abs(drawn[..., 3] - expected[..., 3]).max() <= 1
            solid = expected[..., 3] > 128  # a canvas keeps colours less exactly where it is transparent
            assert np.abs(drawn - expected)[solid].max(initial=0) <= 2


def test_opacity_slider(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    choose(page, images[0])
    page.get_by_label("Opacity of the heat map").fill("20")
    expect(page.locator("#heat")).to_have_css("opacity", "0.2")


def test_engine_can_be_chosen_and_compared(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    choose(page, images[0])
    expect(page.locator("#engine")).to_contain_text("ONNX int8")
    page.locator("#options summary").click()
    page.get_by_label("Engine and precision").select_option("tflite-fp32")
    expect(page.locator("#engine")).to_contain_text("TFLite fp32")
    page.get_by_role("button", name="Compare engines").click()
    rows = page.locator("#compare-rows tr")
    expect(page.locator("#compare-rows")).to_contain_text("reference")
    expect(rows).to_have_count(page.locator("#variant option").count())
    for name in ("ONNX fp32", "ONNX int8", "TFLite fp32", "TFLite int8"):
        expect(rows.filter(has_text=name)).to_have_count(1)


def test_report_as_png_and_pdf(open_page: OpenPage, images: list[Path], tmp_path: Path) -> None:
    page = open_page()
    choose(page, images[0])
    expect(page.locator("#engine")).not_to_be_empty()
    with page.expect_download() as png:
        page.get_by_role("button", name="Report as PNG").click()
    assert png.value.suggested_filename == "lesion-0-report.png"
    png.value.save_as(tmp_path / "report.png")
    with Image.open(tmp_path / "report.png") as report:
        assert report.size == (1240, 1754)
    with page.expect_download() as pdf:
        page.get_by_role("button", name="Report as PDF").click()
    pdf.value.save_as(tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-1.4")
    assert data.count(b"/Type /Page ") == 1
    table = int(re.search(rb"startxref\n(\d+)", data)[1])
    assert data[table:].startswith(b"xref")
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", data), start=1):
        assert data[int(offset) :].startswith(f"{number} 0 obj".encode())


def test_history_stays_in_this_browser_and_can_be_cleared(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    choose(page, images[0])
    expect(page.locator("#engine")).not_to_be_empty()
    expect(page.locator("#history-list li")).to_have_count(1)
    page.reload()
    page.locator("#history summary").click()
    expect(page.locator("#history-list li")).to_contain_text(expected_prediction(images[0])[0])
    page.get_by_role("button", name="Clear history").click()
    expect(page.locator("#history-list li")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('dermedge.history')") is None


def test_keyboard_alone_is_enough(open_page: OpenPage, images: list[Path]) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    expect(page.locator("#choose")).to_be_focused()
    choose(page, images[0])
    expect(page.locator("#engine")).not_to_be_empty()
    page.locator(".bar").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bar").first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    expect(page.locator(".bar").nth(1)).to_be_focused()


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_wider_than_the_screen(open_page: OpenPage, images: list[Path], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 800}, is_mobile=width == 360, has_touch=width == 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    choose(page, *images)
    expect(page.locator(".thumb", has_text="…")).to_have_count(0)
    page.get_by_role("button", name="Compare engines").click()
    expect(page.locator("#compare-rows")).to_contain_text("reference")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_theme_follows_the_system_and_can_be_switched(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(15, 21, 20)"
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(background) == "rgb(244, 246, 245)"
    page.reload()
    assert page.evaluate(background) == "rgb(244, 246, 245)"
