"""Flows of scalar coordinates: everything that mechanics asks of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.errors import (
    CannotLower,
    IntegrationFailed,
    LagrangianError,
)
from lagrangian.flows.analysis.lyapunov import lyapunov_exponents
from lagrangian.flows.analysis.section import check_crossings, find_crossings
from lagrangian.flows.arguments import (
    Array,
    State,
    Times,
    check_longest,
    check_tolerance,
    initial_state,
    members_states,
    output_times,
    real_number,
    traced_state,
    whole_number,
)
from lagrangian.flows.ensembles.ensemble import Ensemble, initial_states, run_ensemble
from lagrangian.flows.flow import Flow
from lagrangian.flows.mass_rank import check_regular
from lagrangian.flows.solvers.dormand_prince import DormandPrince
from lagrangian.flows.solvers.flow_map import Settings, flow_map
from lagrangian.flows.solvers.settle import onto_constraints, project
from lagrangian.flows.solvers.solver import stopped_early
from lagrangian.flows.solvers.taylor import Taylor
from lagrangian.flows.start import check_constraints, check_moves
from lagrangian.flows.structure import Structure, kept
from lagrangian.flows.trajectory import Trajectory
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.kernels.linear_solve import solve_in_lanes, solve_mass
from lagrangian.lowering.platform import check_float64, float64
from lagrangian.lowering.source import source
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.inputs import written
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


@kept
def recurrences(structure: Structure, rates: tuple[Any, ...]) -> TaylorSeries:
    """The recurrences of a structure and of the integrals of rates, without numbers."""
    lagrangian = structure.lagrangian
    coordinates = lagrangian.coordinates
    # Behind the accelerations come minus the multipliers.
    behind = {x: -sp.Dummy() for x in lagrangian.constraints.multipliers}
    return TaylorSeries(
        *lagrangian.saddle_point,
        coordinates,
        [c.dot for c in coordinates],
        time,
        rates=[sp.sympify(rate).xreplace(behind) for rate in rates],
        unknowns=[*(c.ddot for c in coordinates), *(-x for x in behind.values())],
    )


@kept
def solver_of(structure: Structure, rates: tuple[Any, ...]) -> Taylor | DormandPrince:
    """The solver of a structure: by Taylor series, if its functions have them."""
    try:
        recurrences(structure, rates)
    except CannotLower:
        return DormandPrince()
    return Taylor()


@jax.tree_util.register_pytree_node_class
class ScalarFlow(Flow[Array]):
    """A flow of scalar coordinates: q and v are arrays of shape (..., coordinates).

    Args:
        lagrangian: of scalar coordinates.
        arguments: the parameters and losses, as `lower` takes them.

    Raises:
        CannotLower, InvalidLagrangian: what `lower` raises them for.
    """

    sequential = True

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
        values: dict[Any, Any] = {time: t, **self.given}
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

    def evaluate_moving(
        self, expression: Expression, q: Array, v: Array, a: Array, t: ArrayLike
    ) -> Any:
        """As `evaluate`, of an expression with accelerations or multipliers, too."""
        expression = self.exponents.expression(expression)
        values = self._values(q, v, t)
        values |= {c.ddot: a[..., i] for i, c in enumerate(self.lagrangian.coordinates)}
        multipliers = self.lagrangian.constraints.multipliers
        if multipliers and expression.has(*multipliers):
            found = self.multipliers(q, v, t)
            values |= {x: found[..., k] for k, x in enumerate(multipliers)}
        return evaluate([expression], values)[0]

    def sizes(self, state: Array) -> Any:
        """The size of each number of a state, in its layout."""
        return jnp.abs(state)

    @property
    def settle(self) -> Any:
        """What brings (y, t) in lanes back onto the constraints; None without any."""
        return onto_constraints(self)

    def _project_start(self, q: Any, v: Any, t: Any) -> tuple[Any, Any]:
        if self.settle is None:
            return super()._project_start(q, v, t)
        return project(self, q, v, t)

    def ensemble(
        self,
        q0: State,
        v0: State,
        t: Times,
        *,
        tol: float = 1e-6,
        atol: ArrayLike | None = None,
        max_step: float | None = None,
        record: Mapping[str, Any] | None = None,
        laws: Sequence[Law] = (),
        devices: Sequence[jax.Device] | jax.sharding.Mesh | None = None,
        save: str | os.PathLike[str] | None = None,
        memory: int | None = None,
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
            tol, atol, max_step, laws: as for `integrate`. A member whose path breaks a
                balance is marked as failed.
            record: what to keep instead of the states, by name: expressions or laws at
                the output times, or a pair with "min", "max", "mean" or "range" for
                that summary over them. The states go as soon as their chunk is done.
            devices: the JAX devices to use, or a `jax.sharding.Mesh`; all local ones if
                None. Under `jax.distributed` the processes share the members and each
                gets all results.
            save: a folder for finished chunks. The same call goes on from them after an
                interrupt.
            memory: how many bytes of results may be held at once, if they are too many
                for all of them: they are kept in `save`, as arrays of NumPy, and read
                from there where they are looked at.
            progress: whether a terminal shows a progress bar (after two seconds).
            max_steps: for each member.

        Returns:
            An `Ensemble`.

        Raises:
            LagrangianError: initial states of a wrong shape; results that do not fit
                into the memory, without `memory`.
            CannotLower: a symbol without a value in `record`.
            CannotSave: the operating system refuses to write to `save`.
        """
        if memory is not None:
            memory = whole_number(memory, "memory", 1)
        times, guard = output_times(t, 2), self.guard(laws)
        demands = self.demands(tol, atol, max_step, max_steps, guard.rates)
        coordinates = self.lagrangian.coordinates
        q, v = initial_states(
            coordinates,
            members_states(coordinates, q0, "q0"),
            members_states(coordinates, v0, "v0"),
        )
        with float64():
            self._check_start(q, v, times[0])
        return run_ensemble(
            self,
            *(q, v, times),
            demands=demands,
            guard=guard,
            record=record or {},
            devices=devices,
            save=save,
            memory=memory,
            progress=progress,
        )

    def flow_map(
        self,
        q: ArrayLike,
        v: ArrayLike,
        t: Sequence[ArrayLike],
        *,
        tol: float = 1e-12,
        max_step: float | None = None,
        max_steps: int = 100_000,
    ) -> tuple[Any, Any]:
        """The state at t[1] of the motion through (q, v) at t[0]: a JAX function.

        Works under `jit`, `vmap`, `jvp` and `grad`, for derivatives by q, v and both
        times; those by parameters go through `with_parameters`. Backwards in time too.

        Args:
            q, v: float64 of shape (coordinates,).
            t: a pair of times.
            tol, max_step: as for `integrate`.
            max_steps: behind which the result is nan, as it is where the energy does
                not keep its balance.

        Returns:
            (q, v) at t[1], float64 of shape (coordinates,) each.

        Raises:
            LagrangianError: JAX is not in its float64 mode, or on a TPU.
            CannotLower: an equation without Taylor recurrences.
        """
        check_tolerance(tol)
        check_float64("`flow_map` computes")
        steps = whole_number(max_steps, "max_steps", 1)
        settings = Settings(float(tol), check_longest(max_step), steps)
        q, v = flow_map(self, q, v, jnp.stack([jnp.asarray(x) for x in t]), settings)
        return q[-1], v[-1]

    def section(
        self,
        q0: State,
        v0: State,
        surface: Expression,
        t: Times,
        *,
        direction: int = 1,
        count: int = 1000,
        tol: float = 1e-12,
        atol: ArrayLike | None = None,
        max_step: float | None = None,
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
            tol, atol, max_step: as for `integrate`. The surface, too, is looked at 16
                times a step.
            max_steps: where to give up.

        Returns:
            a `Trajectory` whose times are those of the crossings.

        Raises:
            LagrangianError: an argument that cannot be, named.
            CannotLower: an equation without Taylor recurrences.
            IntegrationFailed: carries the crossings until the path stopped.
        """
        span, guard = output_times(t, 2)[[0, -1]], self.guard()
        demands = self.demands(tol, atol, max_step, max_steps, guard.rates)
        if real_number(direction) not in (-1, 0, 1):
            raise LagrangianError(
                f"`direction` is {direction!r}; write 1 for crossings upwards, -1 for "
                "those downwards, or 0 for both."
            )
        count = whole_number(count, "count", 1)
        if isinstance(surface, list | tuple):
            raise LagrangianError(
                "`surface` is a list. Pass one expression, and call `section` for each "
                "of several surfaces."
            )
        surface = self.exponents.expression(written(surface, "surface", CannotLower))
        with float64(self.sequential):
            q, v = self._pack(q0, "q0"), self._pack(v0, "v0")
            check_lowerable({"surface": surface}, self._values(q, v, 0.0))
            self._check_start(q, v, span[0])
            found = find_crossings(self, surface, q, v, span, direction, count, demands)
        path = Trajectory(self, found.t, found.q, found.v, found.steps)
        if found.stopped:
            self._check_moves(q, v, span[0], path)
        check_crossings(self, (q, v, span[0]), found, guard, path, tol)
        if found.stopped:
            raise stopped_early(found, path)
        return path

    def lyapunov_exponents(
        self,
        q0: State,
        v0: State,
        t: Times,
        *,
        interval: float = 1.0,
        tol: float = 1e-10,
    ) -> np.ndarray:
        """The growth rates of small deviations along a trajectory, largest first.

        By Benettin's method (Benettin, Galgani, Giorgilli & Strelcyn, 1980): the
        variational equations with a frame that is made orthogonal after every
        `interval`. They are averages over [t[0], t[1]].

        Args:
            q0, v0, t: as for `section`.
            interval: the time between two orthogonalisations, in units of t.
            tol: as for `integrate`.

        Returns:
            float64 of shape (2 coordinates,), in 1/time.

        Raises:
            LagrangianError: an argument that cannot be, named.
            CannotLower: an equation without Taylor recurrences.
            IntegrationFailed: the motion stopped being finite.
        """
        span = output_times(t, 2)[[0, -1]]
        check_tolerance(tol)
        if not real_number(interval) > 0:
            raise LagrangianError(f"`interval` is {interval!r}; write a positive time.")
        with float64(self.sequential):
            q, v = self._pack(q0, "q0"), self._pack(v0, "v0")
            self._check_start(q, v, span[0])
            try:
                return lyapunov_exponents(self, q, v, span, interval, tol)
            except IntegrationFailed as error:
                self._check_moves(q, v, span[0], error.trajectory)
                raise

    def default_solver(self) -> Any:
        return solver_of(self.structure, self.guard().rates)

    def series(self, rates: Sequence[Any]) -> TaylorSeries:
        """The Taylor recurrences of the motion and of the integrals of rates.

        Raises:
            CannotLower: a function without a recurrence.
        """
        with float64():
            return self.recurrences(rates).at(self.parameters, self.settle)

    def recurrences(self, rates: Sequence[Any]) -> TaylorSeries:
        """As `series`, without numbers: the same for all flows of this structure."""
        return recurrences(self.structure, tuple(rates))

    def acceleration(self, q: Array, v: Array, t: ArrayLike = 0.0) -> Any:
        return self._solution(q, v, t)[..., : len(self.lagrangian.coordinates)]

    def multipliers(self, q: Array, v: Array, t: ArrayLike = 0.0) -> Any:
        """The multipliers lambda of the constraints at a state, in their order.

        Args:
            q, v: the state, float64 of shape (..., coordinates) each.
            t: the time, a number.

        Returns:
            float64 of shape (..., constraints).
        """
        return -self._solution(q, v, t)[..., len(self.lagrangian.coordinates) :]

    def _check_start(self, q: Any, v: Any, t: Any) -> None:
        if self.lagrangian.constraints.expressions:
            check_constraints(self, q, v, t)

    def _check_moves(self, q: Any, v: Any, t: Any, path: Any) -> None:
        check_moves(self, q, v, t, path)

    def _pack_traced(self, state: Any, what: str) -> Any:
        return traced_state(self.lagrangian.coordinates, state, what)

    def _pack(self, state: Any, what: str) -> Any:
        return initial_state(self.lagrangian.coordinates, state, what)
