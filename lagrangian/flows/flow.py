"""Flows: the explicit equations of a Lagrangian as JAX functions, and their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import diffrax
import jax
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.flows.solve import solve
from lagrangian.flows.trajectory import Trajectory
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.system import Lagrangian


class Flow:
    """The motion of one Lagrangian with its parameters; made by `lower`.

    The state is a pair (q, v). Subclasses say how it is laid out: `ScalarFlow` as
    arrays whose last axis runs over the coordinates, `BlockFlow` as dictionaries of
    arrays by block name.
    """

    def __init__(
        self,
        lagrangian: Lagrangian,
        parameters: Mapping[Any, Any],
        losses: Mapping[str, Callable[..., Any]],
    ):
        self.lagrangian = lagrangian
        self.parameters, self.losses = dict(parameters), dict(losses)
        #: What solvers have compiled for this flow, by their own keys.
        self.compiled: dict[Any, Any] = {}
        coordinates = lagrangian.coordinates
        inputs = [*coordinates, *(q.dot for q in coordinates), time, *self.parameters]
        check_lowerable(self._expressions(), inputs, self.losses)

    def __repr__(self) -> str:
        names = ", ".join(q.name for q in self.lagrangian.coordinates)
        return f"{type(self).__name__}({names}; float64, {jax.default_backend()})"

    def _expressions(self) -> dict[str, Any]:
        """Everything that will be evaluated, by the name that errors give it."""
        raise NotImplementedError

    def _values(self, q: Any, v: Any, t: Any) -> dict[Any, Any]:
        """A value for every symbol at one state."""
        raise NotImplementedError

    def _pack(self, state: Any, what: str) -> Any:
        """The user's initial positions or velocities in the layout of the state."""
        raise NotImplementedError

    def _check_start(self, q: Any, v: Any, t: Any) -> None:
        """Raise if the initial state is not one of this system."""

    def acceleration(self, q: Any, v: Any, t: Any = 0.0) -> Any:
        """The second time derivatives at a state, in its layout; a JAX function."""
        raise NotImplementedError

    def evaluate(self, expression: Any, q: Any, v: Any, t: Any = 0.0) -> Any:
        """Any SymPy expression in the coordinates at a state; a JAX function."""
        return evaluate([expression], self._values(q, v, t), self.losses)[0]

    def energy(self, q: Any, v: Any, t: Any = 0.0) -> Any:
        """<p, v> - (T - V) at a state; a JAX function."""
        return self.evaluate(self.lagrangian.energy, q, v, t)

    def default_solver(self) -> Any:
        """What `integrate` uses when no solver is named."""
        return diffrax.Dopri8()

    @cached_property
    def field(self) -> Callable[..., Any]:
        """The first-order system as diffrax takes it: f(t, (q, v), _) = (v, qddot)."""

        def field(t: Any, state: Any, _: Any) -> Any:
            q, v = state
            return v, self.acceleration(q, v, t)

        return field

    def integrate(
        self,
        q0: Any,
        v0: Any,
        t: Sequence[float | int],
        *,
        solver: Any = None,
        tol: float = 1e-9,
        points: int = 201,
        max_steps: int = 1_000_000,
    ) -> Trajectory:
        """One trajectory in float64, whatever the global JAX configuration is.

        Args:
            q0, v0: the initial positions and velocities, as mappings from coordinates.
            t: the output times, increasing; a pair is an interval, of which `points`
                evenly spaced times are kept.
            solver: a solver of this library or of diffrax. If None, `Taylor()` for
                scalar coordinates whose equations have Taylor recurrences, and
                `diffrax.Dopri8()` for all others.
            tol: relative and absolute tolerance of each step.
            points: how many output times an interval has.
            max_steps: where to give up.

        Raises:
            LagrangianError: an argument that cannot be, named.
            IntegrationFailed: `max_steps` did not reach the end, or the state stopped
                being finite; carries the trajectory until then.
        """
        times = output_times(t, points)
        check_tolerance(tol)
        with jax.enable_x64(True):
            state = (self._pack(q0, "q0"), self._pack(v0, "v0"))
            self._check_start(*state, times[0])
            if solver is None:
                solver = self.default_solver()
            return Trajectory(self, *solve(self, *state, times, solver, tol, max_steps))


def output_times(t: Sequence[float | int], points: int) -> np.ndarray:
    """The output times that `t` asks for, checked."""
    times = np.asarray(t, np.float64)
    listed = times.ndim == 1 and len(times) > 1 and np.isfinite(times).all()
    if not (listed and np.all(np.diff(times) > 0)):
        raise LagrangianError(
            f"`t` must be increasing times, or a pair (start, end); got {t!r}."
        )
    if len(times) > 2:
        return times
    if points < 2 or points != int(points):
        raise LagrangianError(
            f"`points` is {points!r}; an interval has at least its start and its end."
        )
    return np.linspace(times[0], times[1], int(points))


def check_tolerance(tol: float) -> None:
    """Raise unless `tol` is a positive number."""
    if not 0 < tol < np.inf:
        raise LagrangianError(
            f"`tol` is {tol!r}; write a positive number, such as 1e-9."
        )
