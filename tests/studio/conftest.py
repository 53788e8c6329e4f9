"""The page as a user meets it: the command, and a real browser."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("panel")
pytest.importorskip("playwright")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Nothing may be fetched from elsewhere, and nothing is.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Processes start, and two cores are shared with other tests (ms).
PATIENCE = 60_000


@pytest.fixture(scope="session")
def chromium():
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(_BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def studio_folder(tmp_path_factory):
    """Where the command runs."""
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="session")
def address(chromium, studio_folder):
    """Where `lagrangian studio` says that the page is."""
    command = [sys.executable, "-c", "from lagrangian.cli.main import main; main()"]
    process = subprocess.Popen(
        [*command, "studio", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=studio_folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
    assert found, line + process.stdout.read()
    yield found[0]
    process.terminate()
    said = process.communicate(timeout=20)[0]
    assert "Traceback" not in said, said


@pytest.fixture
def page(chromium, address):
    """A window with the page; it may ask this machine alone, and print no errors."""
    window = chromium.new_context(
        viewport={"width": 1280, "height": 1000},
        permissions=["clipboard-read", "clipboard-write"],
    ).new_page()
    window.set_default_timeout(PATIENCE)
    asked, errors = [], []
    window.on("request", lambda request: asked.append(request.url))
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.goto(address)
    window.locator(".formulas .katex").first.wait_for()
    yield window
    window.context.close()
    outside = [
        u for u in asked if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", u)
    ]
    assert not outside
    assert not errors
