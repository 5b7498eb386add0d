"""How fast the model is in the browser, next to the native engine in the same minutes.

    python tests/e2e/measure_on_device.py --bundle models/ham10000-resnet18 --images FOLDER --count 50

Prints the median milliseconds per image from decoding to map, natively on one thread and in headless Chromium without
a network, in turns; how many labels agree; and the largest difference of a probability. Exit status 1 when a label
differs, a probability differs by more than 1e-3, or the browser needs more than six times the native time.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

from playwright.sync_api import Page, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edge_runtime import Classifier  # noqa: E402
from edge_runtime.errors import DataError, run_command_line  # noqa: E402
from edge_runtime.io.walk import PassedOver, walk_images  # noqa: E402
from tests.e2e.conftest import CHROMIUM_FLAGS, CHROMIUM_NAMES  # noqa: E402
from tools.server_process import server_process  # noqa: E402

SUFFIXES = (".jpg", ".jpeg", ".png")

ASK = """async ([name, data]) => {
    const script = document.querySelector("script[type=module]").src;
    const { predict } = await import(new URL("device_engine.js", script).href);
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const file = new File([bytes], name);
    const started = performance.now();
    const prediction = await predict(file, {});
    return { ...prediction, wall_ms: performance.now() - started };
}"""


def open_offline(page: Page, address: str) -> None:
    """Load the page and the model, then cut the network off and load it again."""
    page.set_default_timeout(120_000)
    page.goto(address)
    for _ in range(2):
        page.wait_for_selector("html[data-ready]")
        page.locator("#options summary").click()
        expect(page.locator("#device-status")).to_contain_text("works without a network", timeout=300_000)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.context.set_offline(True)
        page.reload()
    page.wait_for_selector("html[data-ready]")


def measure(bundle: Path, images: list[Path]) -> int:
    """Measure and print; returns the exit status."""
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    native_ms, browser_ms, stages, labels, difference = [], [], [], 0, 0.0
    with (
        server_process("--bundle", str(bundle), "--engine", "onnx") as server,
        Classifier.load(bundle, engine="tflite", threads=1) as classifier,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        page = browser.new_page()
        open_offline(page, f"http://{server.host}:{server.port}/")
        for path in images[:3]:  # both sides get warm
            page.evaluate(ASK, [path.name, base64.b64encode(path.read_bytes()).decode()])
            classifier.predict(path.read_bytes(), explain=True)
        for path in images:
            data = path.read_bytes()
            started = perf_counter()
            native = classifier.predict(data, explain=True)
            native_ms.append(1e3 * (perf_counter() - started))
            prediction = page.evaluate(ASK, [path.name, base64.b64encode(data).decode()])
            browser_ms.append(prediction["wall_ms"])
            stages.append((native.timing_ms, prediction["timing_ms"]))
            labels += prediction["label"] == native.label
            differences = (
                abs(prediction["probabilities"][code] - value) for code, value in native.probabilities.items()
            )
            difference = max(difference, *differences)
        browser.close()
    ratio = median(browser_ms) / median(native_ms)
    print(f"native {median(native_ms):.1f} ms, browser {median(browser_ms):.1f} ms, ratio {ratio:.2f}")
    for stage in stages[0][0]:
        here, there = (median(each[side][stage] for each in stages) for side in (0, 1))
        print(f"  {stage}: native {here:.1f} ms, browser {there:.1f} ms")
    print(f"labels {labels} of {len(images)} equal, largest difference of a probability {difference:.1e}")
    return int(labels < len(images) or difference > 1e-3 or ratio > 6)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the model in the browser next to the native engine.")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG or PNG images")
    parser.add_argument("--count", type=int, default=50, help="images to ask for")
    arguments = parser.parse_args()
    found = (Path(path) for path, problem in walk_images(str(arguments.images), PassedOver()) if problem is None)
    images = list(islice((path for path in found if path.suffix.lower() in SUFFIXES), max(1, arguments.count)))
    if not images:
        raise DataError(f"{arguments.images}: expected JPEG or PNG images, found none")
    return measure(arguments.bundle, images)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
