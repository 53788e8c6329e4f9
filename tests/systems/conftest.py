"""How the tests of the systems run them."""

import numpy as np
import pytest

from lagrangian.flows.lower import lower
from lagrangian.systems.mechanics import make_system


@pytest.fixture
def follow():
    """Integrates a named system; returns its path and its coordinates, in order."""

    def run(name, t, values=None, tol=1e-12):
        system = make_system(name, values)
        times = list(t) if np.ndim(t) else (0.0, t)
        path = lower(system.lagrangian, system.parameters).integrate(
            system.positions, system.velocities, times, tol=tol
        )
        return path, system.lagrangian.coordinates

    return run
