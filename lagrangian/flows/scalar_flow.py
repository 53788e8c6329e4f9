"""Flows of scalar coordinates: everything that mechanics asks of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import CannotLower, LagrangianError, nearest
from lagrangian.flows.ensemble import Ensemble, initial_states, run_ensemble
from lagrangian.flows.flow import Flow, check_tolerance, output_times
from lagrangian.flows.flow_map import flow_map
from lagrangian.flows.lyapunov import lyapunov_exponents
from lagrangian.flows.regular import check_regular
from lagrangian.flows.section import find_crossings
from lagrangian.flows.taylor import Taylor
from lagrangian.flows.trajectory import Trajectory
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.solve import solve_in_lanes, solve_mass
from lagrangian.lowering.source import source
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.system import Lagrangian


class ScalarFlow(Flow):
    """A flow of scalar coordinates: q and v are arrays of shape (..., coordinates)."""

    def __init__(self, lagrangian: Lagrangian, *arguments: Any):
        super().__init__(lagrangian, *arguments)
        check_regular(lagrangian, self.lagrangian.saddle_point[0], self.parameters)

    def _expressions(self) -> dict[str, Any]:
        names = [q.name for q in self.lagrangian.coordinates]
        return {
            **{
                f"mass matrix of `{name}`": sp.Tuple(*self.lagrangian.mass_matrix[i, :])
                for i, name in enumerate(names)
            },
            **{
                f"equation for `{name}`": self.lagrangian.forcing[i]
                for i, name in enumerate(names)
            },
            **{
                f"constraint {constraint} = 0": sp.Tuple(level, curvature)
                for constraint, level, curvature in zip(
                    self.lagrangian.constraints.expressions,
                    self.lagrangian.constraints.velocity_level,
                    self.lagrangian.constraints.curvature,
                    strict=True,
                )
            },
            "energy": self.lagrangian.energy,
        }

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same equations and parameters only."""
        return repr(
            (self.lagrangian.coordinates, self.lagrangian.saddle_point, self.parameters)
        )

    @property
    def source(self) -> str:
        """Mass matrix M (upper half) and forcing F, as code with shared parts named."""
        matrix, forcing = self.lagrangian.mass_matrix, self.lagrangian.forcing
        names = [c.name for c in self.lagrangian.coordinates]
        upper = [(i, j) for i in range(len(names)) for j in range(i, len(names))]
        velocities = [c.dot for c in self.lagrangian.coordinates]
        return source(
            {f"M[{names[i]}, {names[j]}]": matrix[i, j] for i, j in upper}
            | {f"F[{name}]": forcing[i] for i, name in enumerate(names)},
            [*self.lagrangian.coordinates, *velocities, time, *self.parameters],
        )

    def _values(self, q: Any, v: Any, t: Any, axis: int = -1) -> dict[Any, Any]:
        values: dict[Any, Any] = {time: t, **self.parameters}
        for i, c in enumerate(self.lagrangian.coordinates):
            # Plain indices: `jnp.take` costs a third of the time of a small loop.
            place = (..., i) if axis == -1 else (i,)
            values[c], values[c.dot] = q[place], v[place]
        return values

    def _solution(self, q: Any, v: Any, t: Any, axis: int = -1) -> Any:
        matrix, right = self.lagrangian.saddle_point
        flat = evaluate([*matrix, *right], self._values(q, v, t, axis))
        size = matrix.rows
        entries = [flat[i * size : (i + 1) * size] for i in range(size)]
        solve = solve_mass if axis == -1 else solve_in_lanes
        solution = solve(matrix, entries, flat[size * size :])
        shape = q.shape[:-1] if axis == -1 else q.shape[1:]
        return jnp.stack([jnp.broadcast_to(x, shape) for x in solution], axis)

    def lanes_acceleration(self, q: Any, v: Any, t: Any) -> Any:
        """As `acceleration`, for q and v of shape (coordinates, lanes)."""
        return self._solution(q, v, t, 0)[: len(self.lagrangian.coordinates)]

    def ensemble(
        self,
        q0: Any,
        v0: Any,
        t: Sequence[float | int],
        *,
        tol: float = 1e-6,
        record: Mapping[str, Any] | None = None,
        devices: Any = None,
        save: str | os.PathLike[str] | None = None,
        progress: bool = True,
        max_steps: int = 100_000,
    ) -> Ensemble:
        """The motion from many initial states, each with adaptive steps of its own.

        By Dormand and Prince's method of order 8 in float64. A member's result depends
        on nothing but its own initial state, to the last bit: not on the others, nor on
        how many devices or processes of one kind share the work. One that fails is
        marked, and the others go on.

        Args:
            q0, v0: of shape (members, coordinates), or a mapping from coordinates to
                arrays of shape (members,) and numbers; one row serves all members.
            t: the output times, increasing; of a pair, only the end is kept.
            tol: relative and absolute tolerance of each step.
            record: what to keep instead of the states, by name: expressions or laws at
                the output times, or a pair with "min", "max", "mean" or "range" for
                that summary over them. The states go as soon as their chunk is done.
            devices: the JAX devices to use, or a `jax.sharding.Mesh`; all local ones if
                None. Under `jax.distributed` the processes share the members and each
                gets all results.
            save: a folder for finished chunks. The same call goes on from them after an
                interrupt.
            progress: whether a terminal shows a progress bar (after two seconds).
            max_steps: for each member.

        Raises:
            LagrangianError: initial states of a wrong shape.
        """
        times = output_times(t, 2)
        check_tolerance(tol)
        q, v = initial_states(self.lagrangian.coordinates, q0, v0)
        with jax.enable_x64(True):
            self._check_start(q, v, times[0])
        return run_ensemble(
            self,
            *(q, v, times),
            tol=tol,
            max_steps=max_steps,
            record=record or {},
            devices=devices,
            save=save,
            progress=progress,
        )

    def flow_map(
        self, q: Any, v: Any, t: Any, *, tol: float = 1e-12, max_steps: int = 100_000
    ) -> tuple[Any, Any]:
        """The state at t[1] of the motion through (q, v) at t[0]: a JAX function.

        Works under `jit`, `vmap`, `jvp` and `grad`, for derivatives by q, v and both
        times; those by parameters go through `with_parameters`. Backwards in time too.

        Args:
            q, v: float64 of shape (coordinates,).
            t: a pair of times.
            tol: relative and absolute tolerance of each Taylor step.
            max_steps: behind which the result is nan.

        Raises:
            LagrangianError: JAX is not in its float64 mode.
            CannotLower: an equation without Taylor recurrences.
        """
        check_tolerance(tol)
        if jnp.result_type(float) != np.float64:
            raise LagrangianError(
                "`flow_map` computes in float64. Call it, and take its derivatives, "
                "inside `with jax.enable_x64(True):`."
            )
        return flow_map(self, q, v, t, tol, max_steps)

    def with_parameters(self, parameters: Mapping[Any, Any]) -> ScalarFlow:
        """The same flow with other values for some parameters, traced ones included."""
        if unknown := [p for p in parameters if p not in self.parameters]:
            raise LagrangianError(
                f"this flow has no parameter `{unknown[0]}`. "
                + nearest(str(unknown[0]), map(str, self.parameters))
            )
        other = copy(self)
        other.__dict__.pop("taylor_series", None)
        other.__dict__.pop("field", None)
        other.parameters, other.compiled = {**self.parameters, **parameters}, {}
        return other

    def section(
        self,
        q0: Any,
        v0: Any,
        surface: Any,
        t: Sequence[float | int],
        *,
        direction: int = 1,
        count: int = 1000,
        tol: float = 1e-12,
        max_steps: int = 10_000_000,
    ) -> Trajectory:
        """The states at which a trajectory crosses a surface: a Poincare section.

        Crossings are found where the expression changes its sign between 16 points of a
        Taylor step, or turns between two of them and has crossed there, and located on
        the series to rounding. A start on the surface is no crossing. With `count=1`
        this is the time of a collision or of another condition to stop at.

        Args:
            q0, v0: the initial state, as for `integrate`.
            surface: an expression in coordinates, velocities and time; the surface is
                where it is zero.
            t: start and end.
            direction: 1 for crossings upwards, -1 downwards, 0 both.
            count: how many crossings to stop after.

        Returns:
            a `Trajectory` whose times are those of the crossings.

        Raises:
            LagrangianError: an argument that cannot be, named.
            CannotLower: an equation without Taylor recurrences.
            IntegrationFailed: carries the crossings until the path stopped.
        """
        span = output_times(t, 2)[[0, -1]]
        check_tolerance(tol)
        if direction not in (-1, 0, 1) or count < 1:
            raise LagrangianError(
                f"`direction` is {direction!r} and `count` is {count!r}; the one is 1, "
                "-1 or 0, and the other at least 1."
            )
        with jax.enable_x64(True):
            q, v = self._pack(q0, "q0"), self._pack(v0, "v0")
            check_lowerable({"surface": surface}, self._values(q, v, 0.0))
            self._check_start(q, v, span[0])
            found = find_crossings(
                self, sp.sympify(surface), q, v, span, direction, count, tol, max_steps
            )
            return Trajectory(self, *found)

    def lyapunov_exponents(
        self,
        q0: Any,
        v0: Any,
        t: Sequence[float | int],
        *,
        interval: float = 1.0,
        tol: float = 1e-10,
    ) -> np.ndarray:
        """The growth rates of small deviations along a trajectory, largest first.

        By Benettin's method (Benettin, Galgani, Giorgilli & Strelcyn, 1980): the
        variational equations with a frame that is made orthogonal after every
        `interval`. They are averages over [t[0], t[1]].

        Returns:
            float64 of shape (2 coordinates,), in 1/time.

        Raises:
            LagrangianError: an argument that cannot be, named.
            CannotLower: an equation without Taylor recurrences.
            IntegrationFailed: the motion stopped being finite.
        """
        span = output_times(t, 2)[[0, -1]]
        check_tolerance(tol)
        if not interval > 0:
            raise LagrangianError(f"`interval` is {interval!r}; write a positive time.")
        with jax.enable_x64(True):
            q, v = self._pack(q0, "q0"), self._pack(v0, "v0")
            self._check_start(q, v, span[0])
            return lyapunov_exponents(self, q, v, span, interval, tol)

    def default_solver(self) -> Any:
        try:
            _ = self.taylor_series
        except CannotLower:
            return super().default_solver()
        return Taylor()

    @cached_property
    def taylor_series(self) -> TaylorSeries:
        """The Taylor recurrences of the motion."""
        coordinates = self.lagrangian.coordinates
        velocities = [c.dot for c in coordinates]
        with jax.enable_x64(True):
            return TaylorSeries(
                *self.lagrangian.saddle_point,
                coordinates,
                velocities,
                time,
                self.parameters,
            )

    def acceleration(self, q: Any, v: Any, t: Any = 0.0) -> Any:
        return self._solution(q, v, t)[..., : len(self.lagrangian.coordinates)]

    def multipliers(self, q: Any, v: Any, t: Any = 0.0) -> Any:
        """The multipliers lambda of the constraints at a state, in their order."""
        return -self._solution(q, v, t)[..., len(self.lagrangian.coordinates) :]

    def _check_start(self, q: Any, v: Any, t: Any) -> None:
        constraints = self.lagrangian.constraints
        if not constraints.expressions:
            return
        values = self._values(q, v, t)
        for written, level in zip(
            constraints.expressions, constraints.velocity_level, strict=True
        ):
            for part, what in ((written, "`q0`"), (level, "`v0`")):
                missed = np.ravel(evaluate([part], values)[0])
                if np.any(off := np.abs(missed) > 1e-8):
                    which = f" of member {np.argmax(off)}" if q.ndim > 1 else ""
                    raise LagrangianError(
                        f"{what}{which} violates the constraint {part} = 0: it is "
                        f"{missed[np.argmax(off)]:g}. "
                        "Start on the constraint; it is then kept."
                    )

    def _pack(self, state: Any, what: str) -> Any:
        coordinates = self.lagrangian.coordinates
        if not isinstance(state, Mapping):
            array = np.asarray(state, np.float64)
            if array.shape != (len(coordinates),):
                raise LagrangianError(
                    f"`{what}` has shape {array.shape}; expected one number for each "
                    f"of {', '.join(f'`{c}`' for c in coordinates)}."
                )
            return array
        if missing := [c for c in coordinates if c not in state]:
            raise LagrangianError(
                f"`{what}` has no value for {', '.join(f'`{c}`' for c in missing)}. "
                f"Pass `{{{missing[0]}: 0.0, ...}}`."
            )
        return np.asarray([state[c] for c in coordinates], np.float64)
