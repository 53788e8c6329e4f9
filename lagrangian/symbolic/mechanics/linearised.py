"""The derivatives of momenta and forces: what implicit steps are solved with."""

from __future__ import annotations

from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.graph import partials, summed
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


def linearised(system: Lagrangian) -> tuple[Any, Any, Any, Any]:
    """The derivatives of `momenta` by (v, q), and of `pushes` by (q, v): matrices.

    Those of T - V in positions and velocities are one, by Schwarz's theorem.

    Raises:
        InvalidLagrangian: a system with blocks.
    """
    mass, places = system.mass_matrix, system.coordinates
    size = range(len(places))
    speeds = [q.dot for q in places]
    drift = [[summed(row[q]) for q in places] for row in system.momentum_slopes]
    own = [
        system.graph.partials(summed(system.slopes[q]), places[i:])
        for i, q in enumerate(places)
    ]
    others = [
        partials(
            system.forces.get(q, sp.S.Zero) + system.dissipative_forces[q],
            [*places, *speeds],
        )
        for q in places
    ]
    inner = {(i, j): summed(own[i][places[j]]) for i in size for j in size[i:]}
    stiffness = [
        [inner[min(i, j), max(i, j)] + summed(others[i][places[j]]) for j in size]
        for i in size
    ]
    friction = [
        [drift[j][i] + summed(others[i][speeds[j]]) for j in size] for i in size
    ]
    return mass, *map(sp.Matrix, (drift, stiffness, friction))
