"""Scripts, run: what they build is what they were written from."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.systems.derived import derived
from lagrangian.systems.mechanics import SYSTEMS, make_system
from lagrangian.systems.script import Script
from lagrangian.systems.spec import read_spec
from lagrangian.systems.system import System

NAMES = ["x", "L", "T", "lg", "sp", "row", "lambda", "print", "t_", "x_", "law", "pass"]


def run(script):
    names = {}
    exec(compile(script, "script", "exec"), names)
    return names


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_built_again(name):
    system = make_system(name)
    script = Script(system)
    made = run(script.whole(script.motion_lines))
    assert made["L"] == system.lagrangian
    assert made["values"] == system.parameters
    assert made["start"] == system.positions and made["velocity"] == system.velocities


@pytest.mark.parametrize("name", ["kepler", "double-pendulum", "van-der-pol"])
def test_every_formula_is_reproduced_by_its_lines(name):
    system = make_system(name)
    script, count = Script(system), 0
    (q, *_) = system.lagrangian.coordinates
    for formula in derived(system, [lg.Symmetry({q: q}, name="own")]):
        if formula.lines:
            found = run(script.whole(formula.lines))["row"]
            count += 1
            if formula.section == "algebra" or formula.expression is None:
                assert found is not None
            else:
                assert found == formula.expression
    assert count > 8


def test_a_bracket_is_reproduced():
    x, y = lg.coordinates("x y")
    system = System(
        "free", "", lg.Lagrangian((x.dot**2 + y.dot**2) / 2, sp.S.Zero), {},
        {x: 0.0, y: 0.0}, {x: 0.0, y: 0.0},
    )  # fmt: skip
    rows = [f for f in derived(system) if f.section == "algebra"]
    assert rows
    X = sp.symbols("X_1:20")
    for row in rows:
        found = run(Script(system).whole(row.lines))["row"]
        assert row.expression == sum(c * X[k] for k, c in enumerate(found))


def test_what_breaks_a_symmetry_of_the_potential_is_said():
    x, y = lg.coordinates("x y")
    m = sp.Symbol("m", positive=True)
    L = lg.Lagrangian((x.dot**2 + m * y.dot**2) / 2, (x**2 + y**2) ** 2)
    system = System("oval", "", L, {m: 2.0}, {x: 1.0, y: 0.0}, {x: 0.0, y: 0.0})
    turned, variation = (f for f in derived(system) if f.section == "broken")
    assert turned.remark == "rotation"
    assert sp.expand(variation.expression**2 - ((m - 1) * x.dot * y.dot) ** 2) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True),
    st.sampled_from(["{k}*{a}^2/2", "sqrt({a}^2 + {b}^2 + 1/3)/{k}", "abs({a})^1.5",
                     "atan2({a}, {k})*exp(-{b}/3)", "2^{a} - pi", "1/3", "0",
                     "{k}^(-1/2)*log({b}^2 + 0.1)"]),
)  # fmt: skip
def test_any_names_and_potentials_are_built_again(names, potential):
    a, b, k = names
    spec = {
        "coordinates": [a, b],
        "T": f"({a}.dot^2 + {k}*{b}.dot^2)/2",
        "V": potential.format(a=a, b=b, k=k),
        "dissipation": f"{a}.dot^2/7",
        "damping": "t/3",
        "forces": {b: f"-{a}.dot"},
        "constraints": [f"{a}^2 + {b} - 1"],
        "parameters": {k: 1.5},
        "positions": {a: 1.0, b: 0.0},
        "velocities": {a: 0.0, b: 0.0},
    }
    system = read_spec(spec)
    script = Script(system)
    made = run(script.whole(script.motion_lines[:3]))
    assert made["L"] == system.lagrangian
    assert made["values"] == system.parameters
    assert made["start"] == system.positions


def test_what_python_has_no_word_for_is_refused():
    x = lg.coordinates("x")
    system = System(
        "own",
        "",
        lg.Lagrangian(x.dot**2 / 2, sp.Function("f")(x)),
        {},
        {x: 0.0},
        {x: 0.0},
    )
    with pytest.raises(lg.LagrangianError, match="`f` is no function of SymPy"):
        Script(system).whole()
