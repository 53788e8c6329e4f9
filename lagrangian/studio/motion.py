"""Motions, sections and ensembles, computed where they cannot stop the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows.lower import lower
from lagrangian.flows.solvers.names import solver_of_name
from lagrangian.studio.typed import Typed
from lagrangian.symbolic.algebra.symmetry import TimeTranslation
from lagrangian.symbolic.laws.find import find_symmetries
from lagrangian.symbolic.laws.noether import Law, noether

#: With more coordinates, symmetries are not looked for while a motion is waited for.
_FEW = 4
#: How much longer than the motion a section may take.
LONGER = 500


@dataclass(frozen=True)
class Charge:
    """A charge along a path, and what its law makes of its start.

    Attributes:
        measured: of the state at each time; shape (times,).
        predicted: c(0) and the integral of its rate along the path; shape (times,).
        is_conserved: whether that rate is zero.
    """

    name: str
    measured: np.ndarray
    predicted: np.ndarray
    is_conserved: bool

    @property
    def error(self) -> float:
        """The largest |measured - predicted|, relative to the largest |measured|."""
        size = float(np.abs(self.measured).max()) or 1.0
        return float(np.abs(self.measured - self.predicted).max()) / size


@dataclass(frozen=True)
class Motion:
    """What a page shows of a path.

    Attributes:
        t: shape (times,).
        q, v: shape (times, coordinates), named by `names`.
        energy: beside its law.
        places: of the points of a picture; shape (times, points, 2).
        charges: of the generators that were typed, and of the symmetries found.
        steps: how many were taken.
        failed: why it goes no further; empty if it does.
    """

    names: tuple[str, ...]
    t: np.ndarray
    q: np.ndarray
    v: np.ndarray
    energy: Charge
    places: np.ndarray
    charges: tuple[Charge, ...]
    steps: int
    failed: str = ""


@dataclass(frozen=True)
class Section:
    """Where a path crosses a surface.

    Attributes:
        t: shape (crossings,).
        q, v: shape (crossings, coordinates), named by `names`.
    """

    names: tuple[str, ...]
    t: np.ndarray
    q: np.ndarray
    v: np.ndarray


@dataclass(frozen=True)
class Cloud:
    """Many members that began near each other.

    Attributes:
        t: shape (times,).
        q, v: shape (members, times, coordinates), named by `names`.
        places: of the last point of the picture; shape (members, times, 2).
        failed: how many did not reach the end; their states are nan behind it.
    """

    names: tuple[str, ...]
    t: np.ndarray
    q: np.ndarray
    v: np.ndarray
    places: np.ndarray
    failed: int


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
        energy=_charge(path, noether(L, TimeTranslation())),
        places=drawn,
        charges=tuple(_charge(path, law) for law in (*laws, *_found(L))),
        steps=path.steps,
        failed=failed,
    )


@lru_cache(maxsize=8)
def _found(lagrangian: Any) -> tuple[Law, ...]:
    """The laws of the symmetries of L, but for the energy's; none that take long."""
    if len(lagrangian.coordinates) > _FEW:
        return ()
    try:
        laws = find_symmetries(lagrangian).found
    except LagrangianError:
        return ()
    return tuple(law for law in laws if law.symmetry.name != "time translation")


def _charge(path: Any, law: Law) -> Charge:
    measured = np.asarray(path.charge(law), float)
    conserved = bool(law.is_conserved)
    rate = np.zeros_like(measured) if conserved else _rate(path, law)
    predicted = measured[0] + _integral(np.asarray(path.t), rate)
    return Charge(law.symmetry.name, measured, predicted, conserved)


def _rate(path: Any, law: Law) -> np.ndarray:
    shape = np.shape(path.t)
    return np.broadcast_to(np.asarray(path.evaluate(law.rate), float), shape)


def _integral(t: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """From the first time to each one, of a cubic spline through the rates."""
    if len(t) < 4 or not rate.any():
        steps = np.diff(t) * (rate[1:] + rate[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(steps)])
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(t, rate).antiderivative()
    return spline(t) - spline(t[0])


def section(
    typed: Typed, surface: str, end: float, tol: float, count: int
) -> Iterator[Section]:
    """The crossings, upwards, of the surface on which an expression vanishes.

    Raises:
        LagrangianError: the expression, or the motion, cannot be.
    """
    system = typed.system
    L = system.lagrangian
    level = typed.expression("surface", surface, system)
    flow: Any = lower(L, system.parameters)
    start = system.positions, system.velocities
    until = (0.0, LONGER * end)
    try:
        path = flow.section(*start, level, until, count=count, tol=tol)
    except IntegrationFailed as error:
        path = error.trajectory
        if path is None or not len(path.t):
            raise LagrangianError(str(error)) from None
    names = tuple(q.name for q in L.coordinates)
    yield Section(names, *map(np.asarray, (path.t, path.q, path.v)))


def cloud(
    typed: Typed,
    end: float,
    tol: float,
    members: int,
    spread: float,
    times: int,
    seed: int = 0,
) -> Iterator[Cloud]:
    """Members whose start is that of what is typed, and normal deviates of a spread.

    The spread is relative to the size of each coordinate and velocity, or to 1.

    Raises:
        LagrangianError: none can move.
    """
    system = typed.system
    L = system.lagrangian
    places = typed.places(system)[-1:]
    if L.constraints.expressions:
        raise LagrangianError(
            "members spread about a start would leave the constraints. Write the "
            "system in coordinates without them."
        )
    generator = np.random.default_rng(seed)

    def around(values: Any) -> dict[Any, np.ndarray]:
        deviates = lambda x: spread * max(abs(x), 1.0) * generator.normal(size=members)
        return {q: x + deviates(x) for q, x in values.items()}

    flow: Any = lower(L, system.parameters)
    states = {
        s.name + d: s.dot if d else s for s in L.coordinates for d in ("", ".dot")
    }
    drawn = {f"place {axis}": x for place in places for axis, x in enumerate(place)}
    found = flow.ensemble(
        around(system.positions),
        around(system.velocities),
        np.linspace(0.0, end, times),
        tol=max(tol, 1e-12),
        record=states | drawn,
        progress=False,
    )
    stacked = lambda names: np.stack([found.records[name] for name in names], -1)
    names = [q.name for q in L.coordinates]
    yield Cloud(
        names=tuple(names),
        t=np.asarray(found.t),
        q=stacked(names),
        v=stacked([f"{name}.dot" for name in names]),
        places=stacked(list(drawn)) if drawn else np.zeros((members, times, 0)),
        failed=len(found.failures),
    )
