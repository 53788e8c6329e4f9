"""A motion, computed where it cannot stop the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows.lower import lower
from lagrangian.flows.solvers.names import solver_of_name
from lagrangian.studio.typed import Typed
from lagrangian.symbolic.laws.noether import noether


@dataclass(frozen=True)
class Motion:
    """What a page shows of a path.

    Attributes:
        t: shape (times,).
        q, v: shape (times, coordinates), named by `names`.
        energy: shape (times,).
        places: of the points of a picture; shape (times, points, 2).
        charges: of the generators that were typed, by name; (times,) each.
        steps: how many were taken.
        failed: why it goes no further; empty if it does.
    """

    names: tuple[str, ...]
    t: np.ndarray
    q: np.ndarray
    v: np.ndarray
    energy: np.ndarray
    drift: float
    places: np.ndarray
    charges: dict[str, np.ndarray]
    steps: int
    failed: str = ""


def motion(
    typed: Typed, end: float, tol: float, solver: str | None, points: int
) -> Iterator[Motion]:
    """The motion of what is typed, from 0 to the end.

    Raises:
        LagrangianError: there is none at all.
    """
    system = typed.system
    L = system.lagrangian
    places = typed.places(system)
    laws = [noether(L, generator) for generator in typed.generators(system)]
    flow = lower(L, system.parameters)
    failed = ""
    try:
        path = flow.integrate(
            system.positions,
            system.velocities,
            (0.0, end),
            tol=tol,
            points=points,
            solver=solver_of_name(solver),
            max_steps=200_000,
            project=bool(L.constraints.expressions),
        )
    except IntegrationFailed as error:
        path, failed = error.trajectory, str(error)
        if path is None or len(path.t) < 2:
            raise LagrangianError(failed) from None
    drawn = np.zeros((len(path.t), len(places), 2))
    for i, place in enumerate(places):
        for axis, expression in enumerate(place):
            drawn[:, i, axis] = path.evaluate(expression)
    yield Motion(
        names=tuple(q.name for q in L.coordinates),
        t=np.asarray(path.t),
        q=np.asarray(path.q),
        v=np.asarray(path.v),
        energy=path.energy,
        drift=path.energy_drift,
        places=drawn,
        charges={law.symmetry.name: path.charge(law) for law in laws},
        steps=path.steps,
        failed=failed,
    )
