"""Journeys through the page, in a real browser."""

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("panel")
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def latex(page):
    """The formulas that are shown."""
    shown = page.locator(".formulas [data-latex]")
    return [one.get_attribute("data-latex") for one in shown.all()]


def field(page, name):
    return page.locator(f".field-{name} textarea")


def open_tab(page, name):
    page.locator(".bk-tab", has_text=name).click()


def moved(page):
    """Wait for a motion; what is said of it."""
    status = page.locator("pre.motion", has_text="largest change of the energy")
    status.wait_for()
    return status.inner_text()


def test_what_is_typed_is_derived(page):
    field(page, "T").fill("m*x.dot^2/2")
    field(page, "V").fill("k*x^4/4")
    page.locator('.formulas [data-latex*="x^{3}"]').first.wait_for()
    assert r"x^{3} k + m \ddot{x} = 0" in latex(page)
    page.locator('.formulas [data-latex^="H ="]').wait_for()
    assert r"H = \frac{x^{4} k}{4} + \frac{p_{x}^{2}}{2 m}" in latex(page)
    expect(page.locator(".status.busy")).to_have_count(0)
    content = tomllib.loads(page.locator(".toml textarea").input_value())
    assert content["coordinates"] == ["x"]
    assert content["parameters"] == {"m": 1.0, "k": 1.0}


def test_a_generator_has_its_law_and_what_breaks_it(page):
    field(page, "T").fill("m*(x.dot^2 + y.dot^2)/2")
    field(page, "V").fill("k*(x^2 + y^2)/2")
    field(page, "symmetries").fill("x: -y, y: x\nx: x")
    page.get_by_text("A constant of the motion:").wait_for()
    page.locator(r'.formulas [data-latex^="\\dot c_\\text{potential}"]').wait_for()
    found = latex(page)
    assert r"c = m x \dot{y} - m \dot{x} y" in found
    assert r"\dot c_\text{kinetic} = \dot{x}^{2} m" in found


def test_a_mistake_has_a_caret_under_it(page):
    field(page, "V").fill("-g*l*m*(2*cos(a) + cos(b)")
    said = page.locator("pre.mistake", has_text="V, potential energy")
    said.wait_for()
    line, caret = said.inner_text().splitlines()[-2:]
    assert line.strip() == "-g*l*m*(2*cos(a) + cos(b)"
    assert caret.index("^") == len(line)
    field(page, "V").fill("-g*l*m*(2*cos(a) + cos(b))")
    said.wait_for(state="detached")


def test_hostile_text_is_text(page, tmp_path):
    for text in (
        '__import__("os").system("touch hacked")',
        "<img src=x onerror=window.hacked=1>*x.dot^2",
        "x.dot^2 + " + "(" * 3000,
        "a.dot^9^9^9^9^9",
    ):
        field(page, "T").fill(text)
        page.locator("pre.mistake", has_text="T, kinetic energy").wait_for()
        assert page.evaluate("window.hacked") is None
        field(page, "T").fill("x.dot^2/2")
        page.locator(r'.formulas [data-latex="p_{x} = \\dot{x}"]').wait_for()


def test_the_newest_question_is_answered(page):
    """Symmetries of 32 coordinates take minutes; nobody waits for them."""
    page.locator("select").first.select_option("fput-chain")
    page.locator('.formulas [data-latex*="q_{32}"]').first.wait_for()
    page.locator("select").first.select_option("kepler")
    charge = r"c_{2} = m x \\dot{y} - m \\dot{x} y"
    page.locator(f'.formulas [data-latex="{charge}"]').wait_for()


def test_a_formula_is_copied_in_four_forms(page):
    """As Python, it is a script that prints what is copied for SymPy."""
    copied = {}
    row = page.locator(".formulas .row", has=page.locator('[data-latex^="H ="]'))
    for form in ("LaTeX", "SymPy", "Python", "TOML"):
        row.get_by_text(form, exact=True).click()
        row.get_by_text("copied").wait_for()
        copied[form] = page.evaluate("navigator.clipboard.readText()")
        row.get_by_text(form, exact=True).wait_for()
    assert copied["LaTeX"].startswith("H = ") and r"\frac" in copied["LaTeX"]
    assert copied["SymPy"].startswith("H = ") and "p_a" in copied["SymPy"]
    assert tomllib.loads(copied["TOML"])["name"] == "double-pendulum"
    done = subprocess.run(
        [sys.executable, "-c", copied["Python"]], capture_output=True, text=True
    )
    assert done.stdout.strip() == copied["SymPy"], done.stderr


def test_the_algebra_of_symmetries_and_what_breaks_them(page):
    field(page, "T").fill("(x.dot^2 + y.dot^2)/2")
    field(page, "V").fill("0")
    bracket = page.locator(r'.formulas [data-latex^="[X_{"]').first
    bracket.wait_for()
    assert "= " in bracket.get_attribute("data-latex")
    field(page, "T").fill("(x.dot^2 + 2*y.dot^2)/2")
    field(page, "V").fill("(x^2 + y^2)^2")
    left, product = r"\\delta_{Y_{1}} T = ", r"\\dot{x} \\dot{y}"
    broken = f'.formulas [data-latex^="{left}"][data-latex*="{product}"]'
    page.locator(broken).wait_for()


def test_a_slider_moves_the_motion(page):
    page.locator("select").first.select_option("kepler")
    open_tab(page, "Simulate")
    first = moved(page)
    page.locator(".slider-y-dot input").first.fill("0.6")
    page.locator(".slider-y-dot input").first.press("Enter")
    expect(page.locator(".motion")).not_to_have_text(first)
    moved(page)
    with page.expect_download() as download:
        page.get_by_text("Path (.npz)").click()
    with np.load(download.value.path()) as found:
        assert found["y.dot"][0] == pytest.approx(0.6)
        drift = np.abs(found["energy"] / found["energy"][0] - 1).max()
        assert drift < 1e-7


def test_the_mechanism_is_drawn_and_moves(page):
    open_tab(page, "Simulate")
    moved(page)
    canvas = page.locator("canvas.mechanism")
    canvas.wait_for()
    drawn = lambda: int(canvas.get_attribute("data-drawn") or 0)
    page.wait_for_timeout(300)
    before, picture = drawn(), canvas.screenshot()
    page.wait_for_timeout(600)
    assert drawn() > before + 5
    assert canvas.screenshot() != picture


def test_two_solvers_side_by_side(page):
    open_tab(page, "Simulate")
    moved(page)
    page.get_by_label("Beside it").select_option("dopri8")
    both = page.locator("pre.motion", has_text="apart by at most")
    both.wait_for()
    assert both.inner_text().count("largest change") == 2


def test_a_system_of_ones_own_moves_where_its_points_are(page):
    """Typed points, a section, an ensemble; and all of it as files."""
    field(page, "T").fill("(x.dot^2 + y.dot^2)/2")
    field(page, "V").fill("(x^2 + y^2)/2 + x^2*y - y^3/3")
    page.locator('.formulas [data-latex^="H ="]').wait_for()
    open_tab(page, "Simulate")
    for name, value in (("x", "0.1"), ("y", "0.1"), ("x-dot", "0.4"), ("y-dot", "0.1")):
        page.locator(f".slider-{name} input").first.fill(value)
        page.locator(f".slider-{name} input").first.press("Enter")
    points = page.locator(".field-points textarea")
    assert points.input_value() == "x, y"
    points.fill("x, y\n2*x, x.")
    points.blur()
    page.locator("pre.mistake").first.wait_for()
    points.fill("x, y\n2*x, x*y")
    points.blur()
    expect(page.locator("pre.mistake")).to_have_count(0)
    moved(page)
    page.locator(".field-surface input").fill("x")
    page.locator(".field-surface input").press("Enter")
    page.locator(".section-button button").click()
    said = page.locator(".section-said", has_text="300 crossings").or_(
        page.locator(".section-said", has_text=re.compile(r"[1-9]\d* crossings"))
    )
    said.wait_for()
    page.locator(".cloud-button button").click()
    page.locator(".cloud-said", has_text="200 members").wait_for()
    page.locator('canvas.mechanism[data-cloud="200"]').wait_for()
    saved = {}
    for label in ("Notebook (.ipynb)", "Figures (.png)", "Film (.gif)"):
        with page.expect_download() as download:
            page.get_by_text(label).click()
        saved[label] = Path(download.value.path()).read_bytes()
    cells = json.loads(saved["Notebook (.ipynb)"])["cells"]
    assert any(
        "flow.section(start, velocity, x," in "".join(c["source"]) for c in cells
    )
    assert saved["Figures (.png)"].startswith(b"\x89PNG")
    assert saved["Film (.gif)"].startswith(b"GIF89a")


def test_what_is_edited_keeps_its_picture(page):
    field(page, "V").fill("-g*l*m*(2*cos(a) + cos(b)) + a^2/2")
    page.locator(r'.formulas [data-latex^="H ="][data-latex*="a^{2}"]').wait_for()
    open_tab(page, "Simulate")
    moved(page)
    points = page.locator(".field-points textarea").input_value()
    assert points.startswith("l*sin(a)")


def test_a_theorem_is_found_and_verified(page):
    open_tab(page, "Theorems")
    page.get_by_placeholder("Find a theorem").fill("ziyin mode by mode")
    expect(page.locator(".card")).to_have_count(1)
    page.locator(".card[data-name=phase-transitions]").click()
    page.get_by_text("Exact phase transitions in deep learning").first.wait_for()
    page.locator(".verify button").click()
    page.get_by_text("every claim holds, and every control fails").wait_for()
    page.locator("td.good", has_text="fails, as it must").first.wait_for()
    assert page.locator("img").count() == 1
    assert page.locator(".card .verified").count() == 1
    with page.expect_download() as download:
        page.get_by_text("Report (.json)").click()
    assert download.value.suggested_filename == "phase-transitions.json"
    report = json.loads(Path(download.value.path()).read_text())
    assert report["verdict"] == "verified" and report["seed"] == 0


def test_a_network_learns_and_its_laws_hold(page):
    open_tab(page, "Learn")
    page.locator(".train button").click()
    page.locator(".progress progress").wait_for()
    page.get_by_text("400 of 400 steps").wait_for()
    verdicts = page.locator(".verdicts table")
    verdicts.wait_for()
    assert verdicts.locator("td.bad").count() == 0
    found = page.locator(".symmetries table").inner_text()
    assert "scale of conv1.kernel[..., k]" in found
    expect(page.locator(".progress progress")).to_be_hidden()
    verdicts.get_by_text("Why?").first.click()
    page.get_by_text("What moved the charge").first.wait_for()


def test_code_is_run_by_permission_alone(page, studio_folder):
    """A module writes a file as it is imported."""
    (studio_folder / "marking.py").write_text("open('imported', 'w').close()\n")
    open_tab(page, "Learn")
    page.locator(".field-model input").fill("marking:Network")
    page.locator(".field-model input").press("Enter")
    page.locator(".train button").click()
    page.get_by_text("is code of yours").wait_for()
    assert not (studio_folder / "imported").exists()
    page.locator(".allowed input").check()
    page.locator(".train button").click()
    page.get_by_text("has no `Network`").wait_for()
    assert (studio_folder / "imported").exists()


def test_ones_own_network_and_why_its_laws_fail(page, studio_folder):
    """At a learning rate that is too large for the flow."""
    (studio_folder / "own_network.py").write_text(
        "from lagrangian.networks.networks import Perceptron\n"
        "def Network(rngs, features, classes):\n"
        "    return Perceptron((features, 4, classes), rngs)\n"
    )
    inputs = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    targets = (inputs[:, 0] > 0).astype(int)
    np.savez(studio_folder / "own.npz", inputs=inputs, targets=targets)
    open_tab(page, "Learn")
    for name, value in (("model", "own_network:Network"), ("data", "own.npz")):
        page.locator(f".field-{name} input").fill(value)
        page.locator(f".field-{name} input").press("Enter")
    page.locator(".allowed input").check()
    numbers = {"Learning rate": "5", "Momentum": "0", "Steps": "60", "Batch": "80"}
    for name, value in numbers.items():
        page.get_by_label(name, exact=True).fill(value)
        page.get_by_label(name, exact=True).press("Enter")
    page.locator(".train button").click()
    page.locator(".verdicts table").wait_for()
    assert page.locator(".verdicts td.bad").count() > 0
    page.get_by_text("Why does this law fail?").first.click()
    page.get_by_text("Halve the learning rate").first.wait_for()


def test_nothing_is_served_without_the_token(chromium, address):
    place = urlsplit(address)
    for path in ("/", "/studio", "/" + "a" * 22):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{place.netloc}{path}")
