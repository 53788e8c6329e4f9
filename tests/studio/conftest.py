"""The page as a user meets it: the command, and a real browser."""

import os
import re
import shutil
import signal
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
def address(chromium, tmp_path_factory):
    """Where `lagrangian studio` says that the page is."""
    command = [sys.executable, "-c", "from lagrangian.cli.main import main; main()"]
    process = subprocess.Popen(
        [*command, "studio", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path_factory.mktemp("studio"),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
    assert found, line + process.stdout.read()
    yield found[0]
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[0]
    assert process.returncode == 0, said
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
