"""Screenshots of the page before and after a prediction: both themes, on a phone, a desktop and a wall screen.

python tests/e2e/take_screenshots.py --bundle models/ham10000-resnet18 --images FOLDER --output runs/screenshots
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from itertools import islice
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edge_runtime.errors import run_command_line  # noqa: E402
from tests.e2e.conftest import CHROMIUM_FLAGS, CHROMIUM_NAMES  # noqa: E402
from tools.server_process import server_process  # noqa: E402

SCREENS = {"phone": (360, 740), "desktop": (1280, 860), "wall": (2560, 1440)}


def take(browser: Browser, address: str, images: list[Path], screen: str, theme: str, output: Path) -> None:
    """Write ``<screen>-<theme>-start.png``, ``…-result.png`` and ``…-report.png``."""
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.screenshot(path=output / f"{screen}-{theme}-start.png", full_page=True)
    page.set_input_files("#choose", images)
    expect(page.locator(".thumb", has_text="…")).to_have_count(0, timeout=60_000)
    expect(page.locator("#heat")).to_have_attribute("data-code", re.compile("."))
    page.get_by_role("button", name="Compare engines").click()
    expect(page.locator("#compare-rows")).to_contain_text("reference", timeout=60_000)
    page.locator("#options summary").click()
    page.wait_for_timeout(600)  # the bars grow
    page.screenshot(path=output / f"{screen}-{theme}-result.png", full_page=True)
    with page.expect_download() as report:
        page.get_by_role("button", name="Report as PNG").click()
    report.value.save_as(output / f"{screen}-{theme}-report.png")
    context.close()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Take screenshots of the page.")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEGs; three of them are shown")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    images = list(islice(sorted(arguments.images.glob("*.jpg")), 3))
    arguments.output.mkdir(parents=True, exist_ok=True)
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    with (
        server_process("--bundle", str(arguments.bundle), "--engine", "onnx") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        for screen in SCREENS:
            for theme in ("light", "dark"):
                take(browser, f"http://{server.host}:{server.port}/", images, screen, theme, arguments.output)
        browser.close()
    print(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
