"""Writes the pictures of docs/studio.md: the page as a browser shows it.

lagrangian studio --no-browser      # prints the address
python scripts/document_studio.py ADDRESS
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "studio"


def main(address: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)

        def picture(name: str, height: int) -> None:
            page.set_viewport_size({"width": 1280, "height": height})
            page.wait_for_timeout(1500)
            page.screenshot(path=FOLDER / f"{name}.png")

        page.goto(address)
        page.locator('.formulas [data-latex^="H ="]').wait_for()
        picture("derive", 720)
        page.locator("select").first.select_option("henon-heiles")
        page.locator('.formulas [data-latex^="H ="]').wait_for()
        page.locator(".bk-tab", has_text="Simulate").click()
        page.locator("pre.motion", has_text="largest change of the energy").wait_for()
        page.get_by_label("Beside it").select_option("dopri8")
        page.locator("pre.motion", has_text="apart by at most").wait_for()
        page.locator(".section-button button").click()
        page.locator(".section-said", has_text="300 crossings").wait_for()
        page.locator(".cloud-button button").click()
        page.locator(".cloud-said", has_text="200 members").wait_for()
        page.wait_for_timeout(3000)
        picture("simulate", 1180)
        page.locator(".bk-tab", has_text="Learn").click()
        page.locator(".train button").click()
        page.locator(".verdicts table").wait_for()
        page.get_by_text("Why?").first.click()
        picture("learn", 1000)
        page.locator(".bk-tab", has_text="Theorems").click()
        page.locator(".card[data-name=phase-transitions]").click()
        page.locator(".verify button").click()
        page.get_by_text("every claim holds").wait_for()
        picture("theorems", 1000)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
