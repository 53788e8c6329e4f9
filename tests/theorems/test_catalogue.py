"""Every theorem is documented, and a quick verification says that it is one."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems import catalogue
from lagrangian.theorems.theorem import (
    Curve,
    Evidence,
    Panel,
    Theorem,
    Verification,
    equal,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def documenting():
    file = ROOT / "scripts" / "document_theorems.py"
    spec = importlib.util.spec_from_file_location("document_theorems", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_is_up_to_date(documenting):
    """Else: python scripts/document_theorems.py NAME."""
    assert (ROOT / "docs" / "theorems.md").read_text("utf-8") == documenting.index()


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_every_theorem_has_a_page_and_two_pictures(name):
    folder = ROOT / "docs" / "theorems"
    page = (folder / f"{name}.md").read_text("utf-8")
    title, source = catalogue.title_and_source(name)
    assert title in page and source in page and f"{name}.png" in page
    assert f"{name}: verified (seed 0)" in page
    for picture in (f"{name}.png", f"{name}-small.png"):
        assert (folder / picture).read_bytes()[1:4] == b"PNG"


def prove(setting):
    """Two whole numbers, of which a quick run compares one."""
    cases = [1] if setting.quick else [1, 2]
    claims = [equal("itself", n, n) for n in cases]
    claims.append(equal("its successor", 1, 2, control=True))
    x = np.arange(3.0)
    curves = (Curve("found", x, x), Curve("said", x, x, "predicted"))
    panel = Panel("title", "x", "y", curves, ylog=True)
    return Evidence((), tuple(claims), (panel,))


@pytest.fixture
def toy(monkeypatch):
    found = Theorem("toy", "A toy", "$1 = 1$", "nobody", prove, has_quick=True)
    monkeypatch.setitem(catalogue._CHAPTERS, "toy", "nowhere")
    monkeypatch.setattr(catalogue, "theorem", lambda name: found)
    return found


def test_a_quick_verification_is_shorter_and_says_so(toy):
    whole, quick = lg.verify("toy"), lg.verify("toy", quick=True)
    assert whole.holds and quick.holds
    assert len(whole.evidence.claims) == 3 and len(quick.evidence.claims) == 2
    assert "(seed 0, quick)" in str(quick) and "quick" not in str(whole)
    assert json.loads(quick.to_json())["quick"] is True


def test_without_a_quick_version_it_runs_whole(toy, monkeypatch):
    whole = replace(
        toy, has_quick=False, prove=lambda s: prove(replace(s, quick=False))
    )
    monkeypatch.setattr(catalogue, "theorem", lambda name: whole)
    found = lg.verify("toy", quick=True)
    assert len(found.evidence.claims) == 3 and not found.quick


def test_a_theorem_without_a_control_is_not_verified(toy):
    claims = (equal("itself", 1, 1),)
    assert not Verification(toy, Evidence((), claims, ()), 0, 0.0).holds


def test_the_thumbnail_has_lines_and_no_words(toy):
    figure = lg.verify("toy").thumbnail()
    (axis,) = figure.axes
    assert len(axis.lines) == 2 and axis.get_legend() is None
    assert axis.get_yscale() == "log" and axis.get_title() == ""
