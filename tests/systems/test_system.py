import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.systems.mechanics import make_system
from lagrangian.systems.system import System

x = lg.coordinates("x")
k = sp.Symbol("k")


def oscillator(**arguments):
    lagrangian = lg.Lagrangian(x.dot**2 / 2, k * x**2 / 2, **arguments)
    return System("oscillator", "a spring", lagrangian, {k: 1.0}, {x: 1.0}, {x: 0.0})


def test_values_are_set_in_a_copy():
    before = oscillator()
    after = before.with_values({"k": 4.0, "x": 2.0, "x.dot": 3.0})
    assert (after.parameters, after.positions, after.velocities) == (
        {k: 4.0},
        {x: 2.0},
        {x: 3.0},
    )
    assert (before.parameters, before.positions, before.velocities) == (
        {k: 1.0},
        {x: 1.0},
        {x: 0.0},
    )


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(lg.LagrangianError, match="nothing called `x.dto`.*`x.dot`"):
        oscillator().with_values({"x.dto": 1.0})


def test_what_keeps_its_energy():
    assert oscillator().is_conservative
    assert make_system("rotating-hoop").is_conservative
    for arguments in (
        {"damping": lg.time},
        {"dissipation": x.dot**2},
        {"forces": {x: 1}},
        {"constraints": [x - lg.time]},
    ):
        assert not oscillator(**arguments).is_conservative
    driven = lg.Lagrangian(x.dot**2 / 2, x * sp.cos(lg.time))
    assert not System("d", "", driven, {}, {x: 0.0}, {x: 0.0}).is_conservative
