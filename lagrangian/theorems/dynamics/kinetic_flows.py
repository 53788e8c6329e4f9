"""Charges along damped flows, computed without the engine, against the engine's law.

The motion is that of the Lagrangian of plain JAX functions, differentiated by JAX and
integrated by the classical Runge-Kutta method; only the law is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lagrangian.flows.lower import lower
from lagrangian.symbolic.laws.noether import Law
from lagrangian.theorems.dynamics.kinetic_energies import (
    FRICTION,
    MASS,
    OPAQUE,
    ROWS,
    UNBROKEN,
    VALUES,
    plain_energy,
    random_state,
    without_symmetry,
)
from lagrangian.theorems.theorem import Claim, Curve, Panel, below

HORIZON, STEPS = 1.5, 600
_TOLERANCE = 1e-7
_SHARE = "exp(mu t/m) charge, share of its start"
_RATE = FRICTION / MASS

#: What is integrated, an energy and a row each.
FLOWS = (
    ("Euclidean", "translation"),
    ("Euclidean", "rotation"),
    ("Euclidean", "scale"),
    ("Euclidean", "GL symmetric"),
    ("diagonal", "translation"),
    ("diagonal", "rotation"),
    ("metric 1/q", "root translation"),
    ("metric 1/q^2", "scale"),
    ("Bregman, h", "translation"),
    ("Bregman, radial h", "rotation"),
)
#: Of these also with a loss that lacks the symmetry, and drawn.
_BROKEN_LOSSES = (
    ("diagonal", "translation"),
    ("Euclidean", "rotation"),
    ("metric 1/q^2", "scale"),
)


@dataclass(frozen=True)
class ChargePath:
    """exp(mu t/m) times a charge along a flow: constant where nothing breaks it.

    Attributes:
        t: of shape (times,).
        measured: from the velocities, the plain kinetic energy and the finite symmetry.
        predicted: its first value, and the integral of what the law says of its rate.
    """

    t: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray

    @property
    def _size(self) -> float:
        return float(np.abs(self.measured).max())

    @property
    def errors(self) -> np.ndarray:
        """|measured - predicted|, as shares of the largest charge."""
        return np.abs(self.measured - self.predicted) / self._size

    @property
    def drift(self) -> float:
        """How far the charge moves, as a share of the largest."""
        return float(np.ptp(self.measured)) / self._size


def follow(
    energy: str,
    row: str,
    law: Law,
    seed: int,
    loss: Callable[..., Any] | None = None,
) -> ChargePath:
    """The charge of a symmetry along a damped flow from a random state.

    Args:
        energy, row: names in `ENERGIES` and `ROWS`; the motion is theirs.
        law: which predicts; that of this energy and row, unless it is to fail.
        seed: of the initial state.
        loss: of the row's arrays; by default the row's own.
    """
    with jax.enable_x64(True):
        start = random_state(row, seed)
        motion = _Motion(energy, row, law, loss or ROWS[row].loss)
        measured, added = jax.device_get(_integrated(motion, start))
    t = np.linspace(0, HORIZON, STEPS + 1)
    return ChargePath(t, measured, measured[0] + added)


class _Motion:
    """The field of a damped flow, and its charge by plain JAX."""

    def __init__(self, energy: str, row: str, law: Law, loss: Callable[..., Any]):
        self.energy, self.loss, self.flow = energy, loss, ROWS[row].flow
        self.names = [w.name for w in law.symmetry.blocks]
        self.terms = lower(law, VALUES, losses=OPAQUE)

    def undamped(self, q: Mapping[str, Any], v: Mapping[str, Any]) -> Any:
        """T - f."""
        return plain_energy(self.energy, q, v) - self.loss(*(q[n] for n in self.names))

    def acceleration(self, q: Any, v: Any) -> Any:
        """From d/dt p + (mu/m) p = d(T - f)/dq, with p = dT/d(qdot)."""
        position, unravel = ravel_pytree(q)
        velocity = ravel_pytree(v)[0]

        def lagrangian(x: Any, u: Any) -> Any:
            return self.undamped(unravel(x), unravel(u))

        momentum = jax.grad(lagrangian, 1)
        p, drift = jax.jvp(lambda x: momentum(x, velocity), (position,), (velocity,))
        force = jax.grad(lagrangian)(position, velocity) - drift - _RATE * p
        inertia = jax.jacfwd(momentum, 1)(position, velocity)
        return unravel(jnp.linalg.solve(inertia, force))

    def charge(self, q: Any, v: Any) -> Any:
        """<dT/d(qdot), xi>, with xi from the finite transformation."""
        p = jax.grad(self.undamped, 1)(q, v)
        xi = jax.jvp(lambda s: self.flow(s, q), (0.0,), (1.0,))[1]
        return sum(jnp.sum(p[name] * xi[name]) for name in self.names)

    def field(self, t: Any, state: Any) -> Any:
        """Of (q, v, what the law adds to exp(mu t/m) times the charge)."""
        q, v, _ = state
        terms = self.terms(q, v)
        added = jnp.exp(_RATE * t) * (terms["rate"] + _RATE * terms["charge"])
        return v, self.acceleration(q, v), added


def _integrated(motion: _Motion, start: tuple[Any, Any]) -> tuple[Any, Any]:
    """The measured charge and what the law added, at every step."""
    h = HORIZON / STEPS

    nodes, weights = jnp.array([0, 0.5, 0.5, 1]), jnp.array([1, 2, 2, 1]) / 6

    def moved(state: Any, change: Any, time: Any) -> Any:
        return jax.tree.map(lambda y, k: y + time * k, state, change)

    def step(state: Any, t: Any) -> Any:
        def stage(carry: Any, coefficients: Any) -> Any:
            slope, total = carry
            node, weight = coefficients
            slope = motion.field(t + node * h, moved(state, slope, node * h))
            return (slope, moved(total, slope, weight * h)), None

        still = jax.tree.map(jnp.zeros_like, state)
        (_, after), _ = jax.lax.scan(stage, (still, state), (nodes, weights))
        q, v, added = state
        measured = jnp.exp(_RATE * t) * motion.charge(q, v)
        return after, (measured, added)

    times = jnp.linspace(0, HORIZON, STEPS + 1)
    begin = (*start, jnp.zeros(()))
    return jax.jit(lambda state: jax.lax.scan(step, state, times)[1])(begin)


# ------------------------------------------------------------------ claims


@dataclass(frozen=True)
class Followed:
    """Charges by (energy, row) along flows.

    Attributes:
        paths: of losses with the symmetry.
        lacking: of losses without it.
        mistaken: under the diagonal metric, predicted by the Euclidean law.
    """

    paths: dict[tuple[str, str], ChargePath]
    lacking: dict[tuple[str, str], ChargePath]
    mistaken: ChargePath


def follow_all(
    laws: Mapping[tuple[str, str], Law], seed: int, report: Callable[[str], None]
) -> Followed:
    """Integrate every one of `FLOWS`, and the controls."""
    paths, lacking = {}, {}
    for energy, row in FLOWS:
        report(f"Integrating a flow: {energy}, {row}.")
        law = laws[energy, row]
        paths[energy, row] = follow(energy, row, law, seed)
        if (energy, row) in _BROKEN_LOSSES:
            loss = without_symmetry(ROWS[row].loss)
            lacking[energy, row] = follow(energy, row, law, seed, loss)
    mistaken = follow("diagonal", "rotation", laws["Euclidean", "rotation"], seed)
    return Followed(paths, lacking, mistaken)


def flow_claims(found: Followed) -> Iterator[Claim]:
    """Charges move as their laws say, and stay exactly where nothing breaks them."""
    for (energy, row), path in found.paths.items():
        what = f"{energy}, {row}: charge along a flow - its law's"
        yield below(what, path.errors.max(), _TOLERANCE)
    for (energy, row), path in found.paths.items():
        what = f"{energy}, {row}: drift of exp(mu t/m) charge"
        broken = row not in UNBROKEN[energy]
        yield below(what, path.drift, _TOLERANCE, control=broken)
    for (energy, row), path in found.lacking.items():
        what = f"{energy}, {row}, loss without it: charge - its law's"
        yield below(what, path.errors.max(), _TOLERANCE, control=True)
    what = "diagonal, rotation: charge - the Euclidean law's"
    yield below(what, found.mistaken.errors.max(), _TOLERANCE, control=True)


def flow_panels(found: Followed) -> tuple[Panel, ...]:
    panels = []
    for row in dict.fromkeys(row for _, row in found.lacking):
        energies = [energy for energy, other in found.paths if other == row]
        (absent,) = (energy for energy, other in found.lacking if other == row)
        curves = []
        for i, energy in enumerate(energies):
            path = found.paths[energy, row]
            start, some = path.measured[0], slice(None, None, 40)
            # Legends leave out what begins with an underscore: once is enough.
            label = "_measured" if i else "measured"
            curves += [
                Curve(label, path.t[some], path.measured[some] / start),
                Curve(f"law, {energy}", path.t, path.predicted / start, "predicted"),
            ]
        wrong, some = found.lacking[absent, row], slice(None, None, 20)
        ratio = wrong.measured[some] / wrong.measured[0]
        curves.append(Curve("loss without it", wrong.t[some], ratio, "control"))
        title = f"{row}: flat where unbroken (crosses: {absent})"
        panels.append(Panel(title, "t", _SHARE, tuple(curves)))
    t, some = next(iter(found.paths.values())).t, slice(1, None, 20)
    held, failed = (
        [path.errors[some] for path in paths.values()]
        for paths in (found.paths, found.lacking)
    )
    what = f"smallest of {len(failed)}, loss without it"
    curves = (
        Curve(f"largest of {len(held)} flows", t[some], np.max(held, axis=0)),
        Curve(what, t[some], np.min(failed, axis=0), "control"),
    )
    title = "the charge against its law"
    return (*panels, Panel(title, "t", "error, share of the charge", curves, ylog=True))
