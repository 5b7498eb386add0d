"""The model in the browser: the same predictions as the native engine on the same files, with the network cut off."""

from __future__ import annotations

import base64
import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from playwright.sync_api import Browser, Error, Page, expect

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.imaging.icc import PRIMARIES, SRGB_CURVE, make_profile
from edge_runtime.imaging.preprocessing import load_image_hwc
from tests.conftest import TINY_BUNDLE, blob_image, encoded
from webapp.routes.assets import runs_on_device

OpenPage = Callable[..., Page]

if not runs_on_device() and os.environ.get("DERMEDGE_REQUIRE_BROWSER") != "1":
    pytest.skip("the browser's parts are not built (npm ci && npm run build in webapp/)", allow_module_level=True)

IMAGES = 60
SIZES = ((224, 224), (600, 450), (1024, 768), (97, 301), (3, 5), (1500, 1100), (225, 223))
LARGE_SIZES = ((1792, 1800), (2593, 1945), (4000, 3000), (1801, 2399), (3001, 2690))
"""JPEGs of these sizes are decoded at a quarter or an eighth, as a phone's images are."""


@pytest.fixture(scope="module")
def varied_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEG and PNG of sizes around, below and far above the model's input; grey, rotated by EXIF, and odd ones."""
    folder = tmp_path_factory.mktemp("varied")
    dice = random.Random(7)
    paths = []
    for number in range(IMAGES):
        width, height = dice.choice(LARGE_SIZES if number % 5 == 1 else SIZES)
        noise = np.random.default_rng(number).integers(0, 256, size=(90, 130, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        options: dict[str, object] = {}
        if number % 10 == 3:
            image = ImageOps.grayscale(image)
        is_rotated = number % 10 in (5, 6)
        is_png = number % 3 == 0 and not is_rotated
        if is_rotated:
            exif = Image.Exif()
            exif[0x0112] = 1 + number // 10 + number % 10 - 5
            options["exif"] = exif
        if number % 12 == 9 and is_png:
            opaque = Image.fromarray(np.uint8(255 * (noise[..., 0] > 60)))
            image.putalpha(opaque.resize((width, height), Image.Resampling.NEAREST))
        if not is_png:
            options |= {"quality": dice.choice((60, 90, 97)), "subsampling": dice.choice((0, 1, 2))}
            options["progressive"] = number % 2 == 0
        path = folder / f"varied-{number:02}.{'png' if is_png else 'jpg'}"
        image.save(path, **options)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def offline_page(browser: Browser, address: str) -> Iterator[Page]:
    """The page with the model on the device, opened once with a network and then again without any."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("works without a network", timeout=120_000)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    context.set_offline(True)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("works without a network", timeout=120_000)
    yield page
    context.close()


def predict_on_device(page: Page, path: Path, explain_class: str | None = None) -> dict[str, object]:
    """Classify a file in the page's own device engine and return its prediction."""
    return page.evaluate(
        """async ([name, data, explainClass]) => {
            const script = document.querySelector("script[type=module]").src;
            const { predict } = await import(new URL("device_engine.js", script).href);
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            return predict(new File([bytes], name), { explainClass });
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode(), explain_class],
    )


def seen_by_browser(page: Page, path: Path) -> np.ndarray:
    """Return what the graphs get to see in the browser: uint8 (224, 224, 3)."""
    data = page.evaluate(
        """async (data) => {
            const script = document.querySelector("script[type=module]").src;
            const load = (name) => import(new URL(name, script).href);
            const [{ loadImage }, { device }] = await Promise.all([load("image_pixels.js"), load("boot.js")]);
            const jpegDecoder = await WebAssembly.compileStreaming(fetch(`${device.runtime}jpeg-turbo.wasm`));
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            const square = await loadImage(new File([bytes], "image"), { size: 224, maxPixels: 30e6, jpegDecoder });
            let text = "";
            for (const byte of square) text += String.fromCharCode(byte);
            return btoa(text);
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )
    return np.frombuffer(base64.b64decode(data), dtype=np.uint8).reshape(224, 224, 3)


def test_first_visit_keeps_all_that_the_device_needs(offline_page: Page) -> None:
    kept = offline_page.evaluate(
        """async () => {
            const names = (await caches.keys()).filter((name) => name.startsWith("dermedge-shell-"));
            const requests = await Promise.all(names.map(async (name) => (await caches.open(name)).keys()));
            return requests.flat().map(({ url }) => new URL(url).pathname.split("/").pop());
        }"""
    )
    assert {"", "main.js", "device-worker.js", "jpeg-turbo.wasm"} <= set(kept)
    assert any(name.startswith("litert_wasm") and name.endswith(".wasm") for name in kept)


def test_browser_finds_nothing_against_installing_it(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    browser = page.context.new_cdp_session(page)
    assert browser.send("Page.getAppManifest")["errors"] == []
    found = browser.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {each["errorId"] for each in found} <= {"in-incognito"}  # as every context of a test is


def test_preprocessing_is_bit_exact(offline_page: Page, varied_images: list[Path]) -> None:
    for path in varied_images:
        assert np.array_equal(seen_by_browser(offline_page, path), load_image_hwc(path, 224)), path.name


def test_predictions_equal_the_native_engines_without_a_network(offline_page: Page, varied_images: list[Path]) -> None:
    with Classifier.load(TINY_BUNDLE, engine="tflite", threads=1) as classifier:
        for path in varied_images:
            prediction = predict_on_device(offline_page, path)
            native = classifier.predict(path, explain=True)
            assert prediction["label"] == native.label, path.name
            assert prediction["probabilities"] == pytest.approx(native.probabilities, abs=1e-3), path.name
            assert prediction["explained_class"] == native.explained_class
            assert np.allclose(prediction["class_activation_map"], native.class_activation_map, atol=1e-3), path.name


def test_page_works_offline_in_every_respect(offline_page: Page, varied_images: list[Path]) -> None:
    page = offline_page
    page.set_input_files("#choose", varied_images[1])
    expect(page.locator("#engine")).to_contain_text("TFLite int8 on this device")
    with Classifier.load(TINY_BUNDLE, engine="tflite", threads=1) as classifier:
        label = classifier.predict(varied_images[1]).label
    expect(page.locator("#headline")).to_have_text(next(each.name for each in ham10000().classes if each.code == label))
    page.locator(".bar[data-code=df]").click()
    expect(page.locator("#heat")).to_have_attribute("data-code", "df")
    page.locator("[data-sample*='mel']").click()
    expect(page.locator("#file-name")).to_have_text("mel.jpg")
    expect(page.locator("#engine")).to_contain_text("on this device")


def test_choice_is_explained_and_remembered(open_page: OpenPage, varied_images: list[Path]) -> None:
    page = open_page()
    page.locator("#options summary").click()
    page.get_by_label("On this device").check()
    expect(page.locator("#privacy")).to_have_text("Your image does not leave this device.")
    page.set_input_files("#choose", varied_images[4])
    expect(page.locator("#engine")).to_contain_text("on this device", timeout=60_000)
    page.reload()
    page.locator("#options summary").click()
    expect(page.get_by_label("On this device")).to_be_checked()
    page.get_by_label("On the server").check()
    page.set_input_files("#choose", varied_images[4])
    expect(page.locator("#engine")).to_contain_text("on the server")


def test_altered_model_files_are_not_used(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("works without a network", timeout=60_000)
    altered = page.evaluate(
        """async () => {
            const cache = await caches.open("dermedge-models");
            const keys = await cache.keys();
            for (const key of keys) await cache.put(key, new Response("altered"));
            return keys.length;
        }"""
    )
    assert altered == 3
    page.reload()
    page.locator("#options summary").click()
    expect(page.locator("#device-status")).to_contain_text("works without a network", timeout=60_000)
    sizes = page.evaluate(
        """async () => {
            const cache = await caches.open("dermedge-models");
            const responses = await Promise.all((await cache.keys()).map((key) => cache.match(key)));
            return Promise.all(responses.map(async (response) => (await response.arrayBuffer()).byteLength));
        }"""
    )
    assert sorted(sizes) == sorted(
        (TINY_BUNDLE / name).stat().st_size
        for name in ("features.int8.tflite", "head.fp32.tflite", "explain.fp32.tflite")
    )


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return png[:33] + chunk + png[33:]


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def inexact_images() -> dict[str, bytes]:
    """Images that a browser would decode to other pixels than the runtime, or that are not whole."""
    photo, grey = blob_image(300, 220), Image.fromarray(np.arange(2500, dtype=np.uint16).reshape(50, 50))
    jpeg, png, webp = encoded(photo, quality=90), encoded(photo, "PNG"), encoded(photo, "WEBP")
    progressive, middle = encoded(photo, quality=90, progressive=True), len(jpeg) // 2
    last_scan = progressive.rindex(b"\xff\xda")
    p3 = make_profile(PRIMARIES[12], SRGB_CURVE)
    assert p3 is not None
    clear = photo.copy()
    clear.putalpha(0)
    return {
        "16-bit grey": encoded(grey, "PNG"),
        "half-transparent": encoded(Image.new("RGBA", (50, 50), (200, 100, 50, 128)), "PNG"),
        "transparent everywhere": encoded(clear, "PNG"),
        "CMYK": encoded(Image.new("CMYK", (50, 50), (20, 100, 50, 12))),
        "TIFF": encoded(photo, "TIFF"),
        "GIF": encoded(photo, "GIF"),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        "JPEG cut": jpeg[:middle],
        "JPEG cut and closed": jpeg[:middle] + b"\xff\xd9",
        "JPEG cut late and closed": jpeg[: len(jpeg) - 300] + b"\xff\xd9",
        "JPEG zeros to the end": jpeg[:middle] + bytes(len(jpeg) - middle - 2) + b"\xff\xd9",
        "JPEG zeros in the middle": jpeg[:middle] + bytes(300) + jpeg[middle + 300 :],
        "JPEG without its last scan": progressive[:last_scan] + b"\xff\xd9",
        "JPEG Display P3": encoded(photo, icc_profile=p3),
        "PNG Display P3": encoded(photo, "PNG", icc_profile=p3),
        "WebP Display P3": encoded(photo, "WEBP", icc_profile=p3),
        "PNG gamma": with_chunk(png, b"gAMA", struct.pack(">I", 100_000)),
        "PNG code points": with_chunk(png, b"cICP", bytes([9, 8, 0, 1])),
        "PNG orientation": with_chunk(png, b"eXIf", exif_block(6).removeprefix(b"Exif\0\0")),
        "PNG cut": png[: len(png) // 2],
        "PNG altered": png[:-200] + bytes([png[-200] ^ 1]) + png[-199:],
        "WebP cut": webp[: len(webp) // 2],
        "WebP orientation": encoded(photo, "WEBP", exif=exif_block(3)),
        "BMP cut": encoded(photo, "BMP")[:5000],
    }


@pytest.mark.parametrize("kind", inexact_images())
def test_image_that_the_browser_cannot_decode_exactly_is_refused(offline_page: Page, tmp_path: Path, kind: str) -> None:
    (tmp_path / "image").write_bytes(inexact_images()[kind])
    with pytest.raises(Error, match="cannot decode this image exactly"):
        predict_on_device(offline_page, tmp_path / "image")


def exact_images() -> dict[str, bytes]:
    """Images with something unusual about them that changes nothing."""
    photo = blob_image(300, 220)
    jpeg, png = encoded(photo, quality=90), encoded(photo, "PNG")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    restarts = io.BytesIO()
    photo.save(restarts, "JPEG", restart_marker_rows=2)
    return {
        "JPEG sRGB profile": encoded(photo, icc_profile=srgb),
        "JPEG with something behind it": jpeg + bytes(5000),
        "JPEG restart markers": restarts.getvalue(),
        "JPEG progressive": encoded(photo, progressive=True),
        "JPEG grey progressive": encoded(photo.convert("L"), progressive=True),
        "JPEG flat": encoded(Image.new("RGB", (300, 220), (200, 150, 140))),
        "PNG sRGB gamma": with_chunk(png, b"gAMA", struct.pack(">I", 45455)),
        "PNG sRGB": with_chunk(png, b"sRGB", b"\0"),
        "PNG text": with_chunk(png, b"tEXt", b"Comment\0" + b"x" * 100_000),
        "WebP": encoded(photo, "WEBP", lossless=True),
        "BMP": encoded(photo, "BMP"),
    }


@pytest.mark.parametrize("kind", exact_images())
def test_unusual_image_is_decoded_as_everywhere_else(offline_page: Page, tmp_path: Path, kind: str) -> None:
    (tmp_path / "image").write_bytes(exact_images()[kind])
    expected = load_image_hwc(tmp_path / "image", 224)
    assert np.array_equal(seen_by_browser(offline_page, tmp_path / "image"), expected)


def test_refusal_on_the_device_is_shown(offline_page: Page, tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(inexact_images()["TIFF"])
    offline_page.set_input_files("#choose", tmp_path / "scan.tif")
    expect(offline_page.locator("#file-name")).to_have_text("scan.tif")
    expect(offline_page.locator("#failure")).to_contain_text("cannot decode this image exactly")
