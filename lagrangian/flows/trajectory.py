"""A computed path: its states, and any quantity along it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.errors import LagrangianError, nearest
from lagrangian.flows.arguments import is_traced, known, real_array
from lagrangian.flows.path import Path, numbers
from lagrangian.flows.series import series
from lagrangian.flows.solvers.flow_map import propagate_lanes
from lagrangian.flows.to_xarray import Labelled
from lagrangian.lowering.platform import float64
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.shown import few
from lagrangian.symbolic.laws.noether import Law


@jax.tree_util.register_pytree_node_class
class Trajectory(Path):
    """States at the output times, in float64; a pytree; made by `lg.Flow`.

    Attributes:
        flow: whose path it is.
        t: times, shape (times,).
        q, v: positions and velocities; shape (times, coordinates) for scalars, and
            dictionaries of arrays with the times first for blocks.
        steps: how many steps the solver took; None of a path that JAX traces.

    `path[a]`, `path[a.dot]` and `path[a.ddot]` are one coordinate, its velocity and its
    acceleration, shape (times, ...).

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> path = flow.integrate([1.0], [0.0], (0, 1))
    >>> path.q.shape, path.energy_drift < 1e-12
    ((201, 1), True)
    >>> path.at([0.3])[x].round(12)
    array([0.95533649])
    """

    def __init__(self, flow: Any, t: Any, q: Any, v: Any, steps: int | None):
        self.flow, self.t, self.q, self.v, self.steps = flow, t, q, v, steps

    def tree_flatten(self) -> tuple[tuple[Any, ...], int | None]:
        return (self.flow, self.t, self.q, self.v), self.steps

    @classmethod
    def tree_unflatten(cls, steps: int | None, parts: Any) -> Trajectory:
        return cls(*parts, steps)

    _next = "`path[x]`, `.energy_drift`, `.charge(law)`, `.plot()`, `.save(file)`"

    def __str__(self) -> str:
        names = few(c.name for c in self.flow.lagrangian.coordinates)
        if is_traced(self):
            return f"Trajectory({names}; traced)"
        span = f" in [{self.t[0]:g}, {self.t[-1]:g}]" if len(self.t) else ""
        return (
            f"Trajectory({names}; {len(self.t)} times{span}; "
            f"{self.steps} steps; float64)"
        )

    def __getitem__(self, symbol: Coordinate) -> np.ndarray:
        """One coordinate, velocity or acceleration.

        Args:
            symbol: such as `x`, `x.dot` or `x.ddot`, of a scalar or a block.

        Returns:
            float64 of shape (times,), or (times, ...) of a block.

        Raises:
            LagrangianError: anything else; says what is there.
        """
        coordinates = self.flow.lagrangian.coordinates
        known = isinstance(symbol, Coordinate) and symbol.base in coordinates
        if not known or symbol.order > 2:
            raise self._unknown(symbol)
        if symbol.order == 2:
            state = self.accelerations
        else:
            state = (self.q, self.v)[symbol.order]
        if isinstance(state, dict):
            return series(state[symbol.base.name])
        return series(state[:, coordinates.index(symbol.base)])

    def _unknown(self, key: Any) -> LagrangianError:
        coordinates = self.flow.lagrangian.coordinates
        if isinstance(key, Coordinate) and key.base in coordinates:
            return LagrangianError(
                f"a path has no `{key}`, which is above the acceleration "
                f"`{key.base}.ddot`. Differentiate that one."
            )
        if not isinstance(key, sp.Basic | str):
            got = f"an object of type {type(key).__name__}"
        elif isinstance(key, sp.Basic) and not key.is_Symbol:
            return LagrangianError(
                f"`path[...]` takes one coordinate, velocity or acceleration, and got "
                f"the expression {key}. Write `path.evaluate({key})`."
            )
        else:
            got = f"the text {key!r}" if isinstance(key, str) else f"`{key}`"
        return LagrangianError(
            f"`path[...]` takes a coordinate of its system, a velocity or an "
            f"acceleration, as symbols, and got {got}. "
            + nearest(str(key), (c.name for c in coordinates))
        )

    @cached_property
    def accelerations(self) -> Any:
        """The accelerations at each time, in the layout of `q`."""
        with float64():
            values = jax.vmap(self.flow.acceleration)(
                self.q, self.v, jnp.asarray(self.t)
            )
        return series(known(values))

    def evaluate(self, expression: Expression) -> np.ndarray:
        """Any SymPy expression in the coordinates along the path, times first.

        Args:
            expression: in coordinates, velocities, accelerations, the multipliers of
                constraints, `lg.time` and the parameters.

        Returns:
            float64 of shape (times,), or (times, ...) of an expression of blocks.

        Raises:
            CannotLower: a symbol without a value.
        """
        expression, flow = sp.sympify(expression), self.flow
        system = flow.lagrangian
        solved = {
            *system.constraints.multipliers,
            *(q.ddot for q in system.coordinates),
        }

        def at(q: Any, v: Any, t: Any) -> Any:
            if expression.free_symbols.isdisjoint(solved):
                return jnp.asarray(flow.evaluate(expression, q, v, t))
            a = flow.acceleration(q, v, t)
            return jnp.asarray(flow.evaluate_moving(expression, q, v, a, t))

        with float64():
            values = jax.vmap(at)(self.q, self.v, jnp.asarray(self.t))
        return series(known(values))

    @property
    def energy(self) -> np.ndarray:
        """<p, v> - (T - V) at each time, shape (times,), in the units of T."""
        return self.evaluate(self.flow.lagrangian.energy)

    @property
    def energy_drift(self) -> float:
        """The largest |E(t) - E(0)|, relative to |E(0)| or, if larger, to max |T|.

        Zero where nothing moves.
        """
        energy = self.energy
        kinetic = self.evaluate(self.flow.lagrangian.T)
        scale = max(abs(energy[0]), np.abs(kinetic).max())
        drift = np.abs(energy - energy[0]).max()
        return float(drift / scale) if drift else 0.0

    @property
    def multipliers(self) -> np.ndarray:
        """The multipliers of the constraints, shape (times, constraints)."""
        with float64():
            values = jax.vmap(self.flow.multipliers)(self.q, self.v, self.t)
        return series(known(values))

    def charge(self, law: Law) -> np.ndarray:
        """The charge of a law at each time.

        Args:
            law: of the system of this path.

        Returns:
            float64 of shape (times,), or (times, units) of blocks with units.
        """
        return self.evaluate(law.charge)

    def at(self, t: ArrayLike | Sequence[float]) -> Trajectory:
        """The path at other times, each as accurate as a step of the Taylor series.

        Each is reached from the output time before it, so this costs few steps where
        the output times are dense.

        Args:
            t: times within the path: a number, or numbers of shape (times,),
                increasing.

        Returns:
            A `Trajectory` of these times.

        Raises:
            LagrangianError: times outside of it, or a path of blocks.
            CannotLower: a flow without Taylor recurrences.
        """
        if isinstance(self.q, dict):
            raise LagrangianError(
                "`at` follows Taylor series, which flows of blocks have not. Pass the "
                "times to `integrate`, as `t`."
            )
        given = real_array(t)
        if given is None or given.ndim > 1:
            raise LagrangianError(
                f"`t` is {t!r}; write a time within the path, or a list of them."
            )
        times = np.atleast_1d(given)
        first, last = self.t[0], self.t[-1]
        if not (np.all(first <= times) and np.all(times <= last)):
            raise LagrangianError(
                f"`t` leaves [{first:g}, {last:g}], where the path is known. Integrate "
                "further for later times."
            )
        before = np.searchsorted(self.t, times, side="right") - 1
        with float64(sequential=True):
            states = self.q[before].T, self.v[before].T
            q, v = propagate_lanes(self.flow, *states, self.t[before], times)
        return Trajectory(self.flow, times, q.T, v.T, self.steps)

    def until(self, index: int) -> Trajectory:
        """The path before one of its output times."""
        q, v = jax.tree.map(lambda x: x[:index], (self.q, self.v))
        return Trajectory(self.flow, self.t[:index], q, v, self.steps)

    def labelled(self) -> dict[str, Labelled]:
        """Positions, velocities and the energy."""
        coordinates = self.flow.lagrangian.coordinates
        found: dict[str, Labelled] = {}
        for symbol in [*coordinates, *(q.dot for q in coordinates)]:
            values = self[symbol]
            block = symbol.base.name
            axes = tuple(f"{block}_{i}" for i in range(values.ndim - 1))
            found[str(symbol)] = axes, values
        return found | {"energy": ((), self.energy)}

    def described(self) -> dict[str, Any]:
        """The Lagrangian, and the parameters that are single numbers, as JSON."""
        system = self.flow.lagrangian
        written = {"damping": system.damping} | system.parts
        return {
            "lagrangian": "; ".join(f"{n} = {x}" for n, x in written.items()),
            "parameters": numbers(self.flow.given),
        }

    def plot(self) -> Any:
        """A Matplotlib figure of every coordinate and of the energy error."""
        from lagrangian.plots import plot_trajectory

        return plot_trajectory(self)
