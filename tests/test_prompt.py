"""What a prompt and a notebook show: in HTML, escaped in one place."""

import re
from html.parser import HTMLParser

import numpy as np

import lagrangian as lg
from lagrangian.learning.checking.report import Report, Row
from lagrangian.prompt import AtPrompt, formula, line, prose, small, words
from lagrangian.tables import html_table
from lagrangian.theorems.theorem import Curve, Evidence, Panel, below

HOSTILE = "<script>alert(1)</script> & $x$ \\(y\\) <img src=x onerror=alert(1)>"
TAGS = {
    "div",
    "pre",
    "table",
    "thead",
    "tr",
    "td",
    "th",
    "span",
    "code",
    "p",
    "b",
    "br",
}


class Seen(HTMLParser):
    """The tags of a page, and its text outside of `code` and `pre`."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._inside = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.texts.append("|")
        self._inside += [tag]

    def handle_endtag(self, tag):
        self.texts.append("|")
        if tag in self._inside:
            self._inside.reverse()
            self._inside.remove(tag)
            self._inside.reverse()

    def handle_data(self, data):
        if not {"code", "pre"} & set(self._inside):
            self.texts.append(data)


def test_nothing_of_a_text_is_html_or_a_formula():
    parts = line(HOSTILE), small(HOSTILE), words(HOSTILE), html_table([(HOSTILE,)] * 2)
    for part in parts:
        seen = Seen(part)
        assert seen.tags <= TAGS
        # MathJax looks for its delimiters within one text, which a tag ends.
        assert not re.search(r"\$[^|]+\$|\\\(|\\\[|\\begin", "".join(seen.texts))
    assert "<script>" in "".join(Seen(line(HOSTILE)).texts)  # the control: it is read


def test_a_formula_stays_one():
    assert formula(r"$\displaystyle a < b$") == "<div>$$ a &lt; b $$</div>"
    assert r"$a &lt; b$" in prose("Let $a < b$.\n\n- `one`\n- **two**")
    assert Seen(prose("Let <img> $a$.\n\n- `one`\n- **two**")).tags == {
        *("p", "br", "code", "b")
    }


class Noun(AtPrompt):
    _next, _engine = "`.tail`, then", frozenset({"inner"})
    tail = inner = _private = 1

    def __str__(self):
        return "a <noun>"


def test_the_default_is_the_words_and_the_next_step():
    noun = Noun()
    assert repr(noun) == "a <noun>\n  next: `.tail`, then"
    html = noun._repr_html_()
    assert "a &lt;noun&gt;</pre>" in html and "<code>.tail</code>, then" in html
    offered = [name for name in dir(noun) if not name.startswith("__")]
    assert offered == ["tail"] and "__class__" in dir(noun)


def test_a_formula_is_shown_as_one():
    x = lg.coordinates("x")
    spring = lg.Lagrangian(
        x.dot**2 / 2, x**2 / 2, forces={x: -x.dot}, constraints=[x - 1]
    )
    html, latex = spring._repr_html_(), spring._repr_latex_()
    assert "$$" in html and r"\frac{x^{2}}{2}" in html and "<code>.equations" in html
    assert r"Q_{x} &= - \dot{x}" in latex and r"\text{constraint 0} &=" in latex
    law = lg.noether(lg.Lagrangian(x.dot**2 / 2, 0), lg.Translation(x))
    assert "Law of translation(x)" in law._repr_html_()


def test_steps_and_oscillators_leave_out_what_is_zero():
    rule, scale = lg.HeavyBall(0.1, 0.9), lg.Scale("w")
    assert str(rule.steps(scale.loss)) == "Steps: p' = 0.9*p + grad f, q' = q + update"
    decayed = lg.HeavyBall(0.1, 0.9, weight_decay=0.5, dampening=0.5)
    assert "0.9*p + 0.5*(grad f + 0.5*q)" in str(decayed.steps(scale.loss))
    (w,) = scale.blocks
    free = lg.Lagrangian(lg.Inner(w.dot, w.dot) / 2, scale.loss)
    oscillator = lg.noether(free, scale).oscillator
    assert str(oscillator) == "1/2*x'' = |w.dot|^2   with x = |w|^2"
    assert r"\frac{1}{2}\,\ddot x = " in oscillator._repr_latex_()


def test_the_evidence_of_a_theorem_is_short():
    curve = Curve("measured", np.arange(9.0), np.arange(9.0))
    claims = [below("zero", 0.0, 1.0), below("one", 1.0, 0.1, control=True)]
    evidence = Evidence.of(["a < b"], [*claims, Panel("t", "x", "y", (curve,))])
    assert "1 lines derived; 2 of 2 claims as expected; 1 panels" in repr(evidence)
    assert "$$ a &lt; b $$" in evidence._repr_html_()
    assert "array" not in repr(evidence.panels)


def test_a_long_report_is_cut():
    numbers = [name for name in Row.__dataclass_fields__]
    row = Row(
        **(
            dict.fromkeys(numbers, 0.0)
            | {"order": None, "raw_factor": None}
            | {
                "symmetry": "scale",
                "block": "<w>",
                "verdict": "holds",
                "reason": "$",
                "units": 1,
                "raw": None,
            }
        )
    )
    html = Report((row,) * 50)._repr_html_()
    assert "... and 30 more" in html and html.count("<code>&lt;w&gt;</code>") == 20
