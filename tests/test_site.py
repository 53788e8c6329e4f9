"""The site of the documentation: it is built, whole, and needs no network."""

import importlib.util
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lagrangian as lg

ROOT = Path(__file__).parents[1]

pytest.importorskip("zensical", reason="comes with the extra `docs`")
pytest.importorskip("mkdocstrings_handlers.python", reason="comes with `docs`")


def script(name):
    where = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built strictly, which takes some eight seconds."""
    folder = tmp_path_factory.mktemp("site")
    script("build_docs").build(folder)
    return folder


def test_every_page_is_there(site):
    pages = {
        page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for page in (ROOT / "docs").rglob("*.md")
    }
    built = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert pages == built - {"404.html"}


def test_nothing_is_fetched_from_elsewhere(site):
    tags = re.compile(r"<(?:script|link|img|iframe|video|source)\b[^>]*>")
    for page in site.rglob("*.html"):
        for tag in tags.findall(page.read_text()):
            assert not re.search(r'(?:src|href)="?(?:https?:)?//', tag), (page, tag)
    assert (site / "katex" / "fonts").is_dir()


def test_every_public_name_is_in_the_reference_once(site):
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: lagrangian\.(\w+)$|`lg\.(\w+)`", pages, re.MULTILINE)
    modules = {"errors", "rules", "systems"}
    names = sorted(a or b for a, b in named)
    assert names == sorted(set(lg.__all__) - modules - {"__version__"})
    html = (site / "reference" / "derive.html").read_text()
    assert 'id="lagrangian.noether"' in html
    assert re.search("&lt;p, xi(>|&gt;) - tau E", html)


def test_a_broken_link_is_refused(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    for page in (docs / "reference").glob("*.md"):
        page.write_text("# Nothing, which is built sooner\n")
    index = docs / "index.md"
    index.write_text(index.read_text() + "\n[nowhere](nowhere.md)\n")
    with pytest.raises(subprocess.CalledProcessError):
        script("build_docs").build(tmp_path / "site", docs)
    assert not (tmp_path / "site").exists()


def test_a_search_from_disk_without_a_network(site):
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    # In a thread, as this one may have an event loop from the tests of the page.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_search, playwright, browser_path, site).result()


def _search(playwright, browser_path, site):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox"]
        )
        page = browser.new_context(offline=True).new_page()
        failed = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.goto((site / "theorems" / "curie.html").as_uri())
        assert page.locator(".katex-display").count() >= 4
        assert page.locator(".katex-error").count() == 0
        page.get_by_role("button", name="Search").first.click()
        page.keyboard.type("find_symmetries")
        found = page.get_by_role("option").filter(has_text="find_symmetries")
        found.first.click()
        page.wait_for_url("**/reference/derive.html*")
        browser.close()
    assert failed == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_outside_of_the_site_hold(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert links or name == "CHANGELOG.md"
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_docstrings_become_markdown():
    as_markdown = script("docstrings").as_markdown
    assert as_markdown("<p, xi> and `a*b`\n\n>>> 1\n1\n\nEnd *") == (
        "&lt;p, xi> and `a*b`\n\n```pycon\n>>> 1\n1\n```\n\nEnd \\*"
    )
    assert as_markdown("As in\n\n    a * b") == "As in\n\n    a * b"
    griffe = pytest.importorskip("griffe")
    several = griffe.Docstring(as_markdown("A.\n\nAttributes:\n    x, y: both"))
    (entry,) = several.parse("google")[-1].value
    assert (entry.name, entry.annotation) == ("x,\xa0y", None)
