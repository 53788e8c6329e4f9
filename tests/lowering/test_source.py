"""The readable listing runs, and gives the values of its expressions."""

import math

import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.lowering.source import source

x, y, x0 = sp.symbols("x y x0")


def run(listing, **values):
    space = {"sin": math.sin, "cos": math.cos, "exp": math.exp, **values}
    exec(listing, space)
    return space


def test_shared_parts_are_named_once_across_outputs():
    shared = sp.sin(x + y)
    listing = source({"f": shared**2 + 1, "g": shared * y, "h": shared}, [x, y])
    assert listing.count("sin") == 1
    space = run(listing, x=0.3, y=1.1)
    assert space["f"] == pytest.approx(math.sin(1.4) ** 2 + 1)
    assert space["g"] == pytest.approx(math.sin(1.4) * 1.1)
    assert space["h"] == pytest.approx(math.sin(1.4))


def test_names_keep_clear_of_the_inputs_and_brackets_are_right():
    both = x0 + y
    expressions = {"f": both**2 / sp.exp(x * both), "g": both * x0 / (x + 1) / (y + x)}
    listing = source(expressions, [x, y, x0])
    assert "x1 = x0 + y" in listing and "\nx0 =" not in listing
    space = run(listing, x=0.3, y=1.1, x0=0.7)
    for name, expression in expressions.items():
        expected = float(expression.subs({x: 0.3, y: 1.1, x0: 0.7}))
        assert space[name] == pytest.approx(expected)


def test_the_listing_of_a_flow(pendulum):
    system, parameters = pendulum
    listing = lg.lower(system, parameters).source
    assert listing.splitlines()[0] == "# inputs: a, b, a.dot, b.dot, t, m, l, g"
    assert "M[a, b] = x1*cos(x2)" in listing
    assert [line for line in listing.splitlines() if line.startswith("F[b] =")]
