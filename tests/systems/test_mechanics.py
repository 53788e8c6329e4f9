"""The systems by name."""

import numpy as np
import pytest

from lagrangian.errors import LagrangianError
from lagrangian.systems.mechanics import SYSTEMS, make_system, sizes


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_integrates_from_its_own_state(follow, name):
    system = make_system(name)
    assert system.name == name
    path, _ = follow(name, 1.0)
    assert np.isfinite(path.q).all()
    assert (path.energy_drift < 1e-10) == system.is_conservative


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_says_what_it_is(name):
    system = make_system(name)
    assert system.description and (SYSTEMS[name].__doc__ or "").strip()
    names = [s.name for s in (*system.parameters, *system.positions)]
    assert len(set(names)) == len(names)
    assert set(system.positions) == set(system.velocities)
    assert set(system.positions) == set(system.lagrangian.coordinates)
    needed = system.lagrangian.T.free_symbols | system.lagrangian.V.free_symbols
    assert set(system.parameters) <= needed | system.lagrangian.dissipation.free_symbols


def test_sizes_are_those_of_the_factory():
    assert sizes("n-pendulum") == {"links": 3}
    assert sizes("kepler") == {}
    assert len(make_system("fput-chain", {"masses": 5}).positions) == 5


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("keppler", {}, "no system `keppler`. Nearest: `kepler`"),
        ("kepler", {"masses": 3}, "nothing called `masses`"),
        ("toda-chain", {"masses": float("nan")}, "write a whole number"),
        ("toda-chain", {"masses": float("inf")}, "write a whole number"),
    ],
)
def test_wrong_names_and_sizes_are_answered(name, values, message):
    with pytest.raises(LagrangianError, match=message):
        make_system(name, values)
