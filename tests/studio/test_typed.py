"""What is typed, completed and refused; the rows that follow."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.studio.derivation import MOST_OPERATIONS, rows
from lagrangian.studio.motion import motion
from lagrangian.studio.pictures import RODS, picture, rods
from lagrangian.studio.typed import Mistyped, Typed
from lagrangian.symbolic.algebra.coordinates import natural_order
from lagrangian.systems.mechanics import SYSTEMS, make_system
from lagrangian.systems.spec import load_spec
from lagrangian.systems.spec_text import spec

OSCILLATOR = Typed("m*x.dot^2/2", "k*x^2/2")


def test_names_are_told_apart():
    typed = Typed("m*(x10.dot^2 + x2.dot^2)/2", "g*sin(x2)*exp(-t) + pi*x10")
    content = typed.spec
    assert content["coordinates"] == ["x2", "x10"]
    assert content["parameters"] == {"m": 1.0, "g": 9.81}
    assert content["positions"] == {"x2": 1.0, "x10": 1.0}


def test_values_are_kept_and_the_rest_is_filled_in():
    typed = replace(OSCILLATOR, values=(("k", 3.0), ("x.dot", 2.0), ("gone", 1.0)))
    system = typed.system
    assert {p.name: v for p, v in system.parameters.items()} == {"m": 1.0, "k": 3.0}
    assert [*system.velocities.values()] == [2.0]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_can_be_typed(name):
    content = spec(make_system(name))
    typed = Typed.of(content)
    assert typed.spec["coordinates"] == sorted(
        content["coordinates"], key=natural_order
    )
    for key in ("T", "V", "positions", "velocities"):
        assert typed.spec[key] == content[key]
    unused = {p for p in content["parameters"] if p not in typed.spec["parameters"]}
    free = make_system(name).lagrangian.expression.free_symbols
    assert not unused & {str(s) for s in free}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Typed("x^2"), "T"),
        (Typed(""), "T"),
        (Typed("x.dot^2", "x^"), "V"),
        (Typed("x.dot^2", dissipation="c*x.dot^2)"), "dissipation"),
        (Typed("x.dot^2", constraints="x\nx +"), "constraints"),
        (Typed("x.dot^2", symmetries="z: 1"), "symmetries"),
        (Typed("x.dot^2", symmetries="x: y"), "symmetries"),
        (Typed("x.dot^2", symmetries="x 1"), "symmetries"),
    ],
)
def test_a_mistake_names_its_field(wrong, field):
    with pytest.raises(Mistyped) as raised:
        list(rows(wrong))
    assert raised.value.field == field


@pytest.mark.parametrize("points", ["x", "x, y, z", "x, q", "(x, y)"])
def test_a_point_has_two_coordinates(points):
    with pytest.raises(Mistyped) as raised:
        next(motion(replace(OSCILLATOR, points=points), 1.0, 1e-9, None, 5))
    assert raised.value.field == "points"


@given(st.text(max_size=40))
def test_any_text_is_a_system_or_a_mistake(text):
    for typed in (Typed(text), replace(OSCILLATOR, V=text)):
        try:
            typed.system.lagrangian.equations  # noqa: B018
        except lg.LagrangianError as error:
            assert str(error)


def test_rows_are_what_python_gives():
    L = OSCILLATOR.system.lagrangian
    found = {row.section: row for row in rows(OSCILLATOR)}
    assert found["Equations of motion"].text == str(L.equations[0])
    assert found["Hamiltonian"].text == f"H = {L.hamiltonian.expression}"
    assert sp.latex(L.energy) in found["Energy"].latex


@pytest.mark.parametrize(
    "typed",
    [
        replace(OSCILLATOR, symmetries="x: x, t: 2*t"),
        Typed("m*(x.dot^2 + 2*y.dot^2)/2", "(x^2 + y^2)^2", name="oval"),
        Typed("(x.dot^2 + lambda.dot^2)/2"),
    ],
)
def test_what_is_copied_reproduces_its_row(typed, tmp_path, capsys):
    """Python and TOML, run and read."""
    kinds = set()
    for row in rows(typed):
        if row.python:
            exec(compile(row.python, "row", "exec"), {})
            printed = capsys.readouterr().out.strip()
            assert printed
            if row.section not in ("Symmetries", "Algebra of the symmetries") and (
                "Y_" not in row.text
            ):
                assert printed == row.text
            (tmp_path / "a.toml").write_text(row.toml)
            assert load_spec(tmp_path / "a.toml").lagrangian == typed.system.lagrangian
            kinds.add(row.section)
    assert {"Equations of motion", "Momenta", "Energy", "Hamiltonian"} < kinds


def test_what_is_broken_is_listed_by_its_cause():
    typed = replace(OSCILLATOR, symmetries="x: x", dissipation="c*x.dot^2/2")
    shown = [row.text for row in rows(typed) if row.section == "Along x: x"]
    causes = [text.partition(" = ")[0] for text in shown]
    assert causes == [
        "c", "dc/dt, kinetic", "dc/dt, potential", "dc/dt, friction"
    ]  # fmt: skip


def test_a_long_formula_is_said_to_be_long():
    terms = (f"sin({i}*x)*cos({i}*x)^2" for i in range(MOST_OPERATIONS // 4))
    found = rows(Typed("x.dot^2/2", " + ".join(terms)))
    row = next(r for r in found if r.section == "Energy")
    assert "operations: copy it" in row.remark
    assert not row.latex
    assert row.text.startswith("E = ")


@pytest.mark.parametrize("name", [n for n in SYSTEMS if n != "fput-chain"])
def test_every_picture_follows_its_motion(name):
    content = spec(make_system(name))
    points, kind = picture(content)
    typed = replace(Typed.of(content), points=points)
    places = typed.places(typed.system)
    assert kind in RODS
    assert all(-1 <= i < j < len(places) for i, j in rods(kind, len(places)))


def test_a_motion_is_that_of_the_library():
    typed = Typed("m*x.dot^2/2", "k*x^2/2", points="x, 0\nx.dot, t", symmetries="t: -1")
    found = next(motion(typed, 3.0, 1e-12, None, 31))
    np.testing.assert_allclose(found.q[:, 0], np.cos(found.t), atol=1e-11)
    np.testing.assert_allclose(found.places[:, 1, 0], -np.sin(found.t), atol=1e-11)
    np.testing.assert_allclose(found.places[:, 1, 1], found.t)
    np.testing.assert_allclose(
        found.charges[0].measured, found.energy.measured, rtol=1e-14
    )
    assert not found.failed


def test_what_was_reached_is_shown_with_why_it_ends():
    typed = Typed("x.dot^2/2", "-x^4/4", values=(("x", 1.0), ("x.dot", 1.0)))
    found = next(motion(typed, 10.0, 1e-9, None, 400))
    assert found.failed
    assert 1 < len(found.t) < 400
