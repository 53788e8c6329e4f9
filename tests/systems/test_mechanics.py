import numpy as np
import pytest

import lagrangian as lg
from lagrangian.systems.mechanics import SYSTEMS


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_integrates_from_its_own_state(name):
    system = SYSTEMS[name]()
    assert system.name == name
    path = lg.lower(system.lagrangian, system.parameters).integrate(
        system.positions, system.velocities, (0.0, 1.0)
    )
    assert np.isfinite(path.q).all() and path.energy_drift < 1e-6


def test_small_swings_of_the_double_pendulum_have_the_known_frequencies():
    """omega^2 = (2 -+ sqrt 2) g/l, the normal modes with angles 1 : -+ sqrt 2."""
    system = SYSTEMS["double-pendulum"]()
    a, b = system.lagrangian.coordinates
    flow = lg.lower(system.lagrangian, system.parameters)
    for sign in (-1, 1):
        omega = np.sqrt((2 + sign * np.sqrt(2)) * 9.81)
        start = {a: 1e-4, b: -sign * np.sqrt(2) * 1e-4}
        period = flow.integrate(start, {a: 0, b: 0}, (0, 2 * np.pi / omega), tol=1e-13)
        assert period[a][-1] == pytest.approx(1e-4, rel=1e-6)
        assert period[b][-1] == pytest.approx(start[b], rel=1e-6)
