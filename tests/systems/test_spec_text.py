"""Systems written as files, and read again."""

import tomllib

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.systems.expression import (
    FUNCTIONS,
    InvalidExpression,
    parse_expression,
)
from lagrangian.systems.mechanics import SYSTEMS, make_system
from lagrangian.systems.spec import InvalidSpec, load_spec, read_spec
from lagrangian.systems.spec_text import spec, toml, written
from lagrangian.systems.system import System

x, y = lg.coordinates("x y")
k = sp.Symbol("k", real=True)
NAMES = {"x": x, "y": y, "x.dot": x.dot, "k": k, "t": lg.time}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_what_its_file_says(name, tmp_path):
    system = make_system(name)
    file = tmp_path / "a.toml"
    file.write_text(toml(spec(system)))
    again = load_spec(file)
    assert spec(again) == spec(system)
    symbols = {p.name: p for p in system.parameters}
    same = {p: symbols[p.name] for p in again.parameters}
    pairs = (
        (getattr(again.lagrangian, part), getattr(system.lagrangian, part))
        for part in ("T", "V", "dissipation")
    )
    assert all(sp.expand(a.xreplace(same) - b) == 0 for a, b in pairs)


def test_every_part_is_written():
    L = lg.Lagrangian(
        x.dot**2 / 2 + y.dot**2 / 2,
        sp.Abs(x) ** 3,
        damping=lg.time / 3,
        dissipation=k * x.dot**2,
        forces={y: sp.exp(-y.dot) + sp.E},
        constraints=[x**2 + sp.sqrt(y) - 1],
    )
    state = {x: 0.0, y: 1.0}, {x: 0.0, y: 0.0}
    system = System("all", "every part", L, {k: 0.1}, *state)
    again = read_spec(tomllib.loads(toml(spec(system))))
    # Symbols of the file are the very ones: real, and of the same name.
    assert again.lagrangian == L
    assert again.parameters == system.parameters


@st.composite
def expressions(draw, depth=3):
    if depth == 0:
        numbers = st.fractions(-9, 9, max_denominator=40).map(
            lambda f: sp.Rational(f.numerator, f.denominator)
        )
        return draw(st.one_of(st.sampled_from([*NAMES.values()]), numbers))
    part = expressions(depth=depth - 1)
    kind = draw(st.sampled_from("+*^f-"))
    if kind == "+":
        return draw(part) + draw(part)
    if kind == "*":
        return draw(part) * draw(part)
    if kind == "-":
        return -draw(part)
    if kind == "^":
        return draw(part) ** draw(st.sampled_from([2, 3, sp.Rational(1, 2)]))
    return draw(st.sampled_from([sp.sin, sp.exp, sp.Abs, sp.tanh]))(draw(part))


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_what_is_written_is_read_as_the_same(expression):
    assume(not expression.has(sp.I, sp.zoo, sp.nan))
    try:
        again = parse_expression(written(expression), NAMES)
    except InvalidExpression as error:
        # A grammar for files: a tower of exponentials has no place in one.
        assert "outside of float64" in str(error) or "too" in str(error)
        return
    if again == expression:
        return
    # Otherwise ordered or simplified: then equal in numbers.
    numbers = (0.3, 0.7, 1.1, 1.3, 2)
    pairs = zip(NAMES.values(), numbers, strict=True)
    values = {symbol: sp.Float(number, 40) for symbol, number in pairs}
    a, b = (complex(e.xreplace(values).evalf(30)) for e in (again, expression))
    assert np.allclose(a, b, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "expression", [sp.besselj(0, x), sp.Piecewise((x, x > 0), (0, True)), sp.I * x]
)
def test_what_a_file_cannot_hold_is_said(expression):
    with pytest.raises(lg.LagrangianError, match="cannot be written into a file"):
        written(expression)


def test_every_function_of_the_grammar_is_written():
    for name in FUNCTIONS:
        arguments = ("x", "k") if name == "atan2" else ("x",)
        text = f"{name}({', '.join(arguments)})"
        expression = parse_expression(text, NAMES)
        assert parse_expression(written(expression), NAMES) == expression


def test_a_mistake_names_its_entry():
    content = {"coordinates": "x", "T": "x.dot^2/2", "V": "x^"}
    content |= {"positions": {"x": 0}, "velocities": {"x": 0}}
    with pytest.raises(InvalidSpec) as raised:
        read_spec(content)
    assert raised.value.keys == ("V",)
    assert raised.value.reason.endswith("\n  x^\n    ^")
