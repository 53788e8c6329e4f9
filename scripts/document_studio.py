"""Writes the pictures of docs/studio.md: the page as a browser shows it.

lagrangian studio --no-browser      # prints the address
python scripts/document_studio.py ADDRESS
"""

import re
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
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.locator('.formulas [data-latex^="H ="]').wait_for()
        page.screenshot(path=FOLDER / "derive.png")
        page.locator(".bk-tab", has_text="Simulate").click()
        page.get_by_text("largest change of the energy").wait_for()
        page.get_by_label("Beside it").select_option("dopri8")
        both = re.compile("largest change.*largest change", re.DOTALL)
        page.locator("pre.motion", has_text=both).wait_for()
        page.wait_for_timeout(3000)
        page.screenshot(path=FOLDER / "simulate.png")
        page.locator(".bk-tab", has_text="Theorems").click()
        page.locator(".theorem-names select").select_option("phase-transitions")
        page.locator(".verify button").click()
        page.get_by_text("every claim holds").wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=FOLDER / "theorems.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
