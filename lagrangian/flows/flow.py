"""Flows: the explicit equations of a Lagrangian as JAX functions, and their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.errors import LagrangianError, nearest
from lagrangian.flows.arguments import (
    State,
    Times,
    check_floor,
    check_longest,
    check_parameters,
    check_tolerance,
    is_traced,
    output_times,
    traced_times,
    whole_number,
)
from lagrangian.flows.guard import Guard, Seen, guard_of
from lagrangian.flows.solvers.dormand_prince import DormandPrince
from lagrangian.flows.solvers.flow_map import Settings, flow_map
from lagrangian.flows.solvers.solver import (
    Demands,
    Solver,
    by_diffrax,
    check_solver,
    solve,
    stopped_early,
)
from lagrangian.flows.solvers.taylor import Taylor
from lagrangian.flows.structure import Parametric, Structure
from lagrangian.flows.trajectory import Trajectory
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.exponents import Exponents
from lagrangian.lowering.platform import check_float64, float64
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.shown import few
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

_F = TypeVar("_F", bound="Flow[Any]")
#: How the positions or the velocities of a state are laid out.
S = TypeVar("S")


class Flow(AtPrompt, Parametric, Generic[S]):
    """The motion of one Lagrangian with its parameters; made by `lower`.

    An immutable pytree whose leaves are its parameters: `jax.jit`, `jax.vmap` and
    `jax.grad` pass through it and through what it computes.

    The state is a pair (q, v). Subclasses say how it is laid out: `ScalarFlow` as
    arrays whose last axis runs over the coordinates, `BlockFlow` as dictionaries of
    arrays by block name. Units are those in which the Lagrangian and its parameters are
    written.

    Attributes:
        structure: all of it but its parameters.
        parameters: those that its equations contain, by symbol.

    Raises:
        CannotLower: what `lower` raises it for.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> path = flow.integrate({x: 1.0}, {x: 0.0}, (0, 3.141592653589793), points=2)
    >>> path[x].round(9)
    array([ 1., -1.])
    """

    structure: Structure

    #: Whether a path is many small operations, one after the other.
    sequential: ClassVar[bool] = False

    def __init__(
        self,
        lagrangian: Lagrangian,
        parameters: Mapping[Any, Any],
        losses: Mapping[str, Callable[..., Any]],
    ):
        self.structure = Structure(type(self), lagrangian, parameters, losses)
        self.parameters = {s: parameters[s] for s in self.structure.symbols}
        coordinates = self.lagrangian.coordinates
        inputs = [*coordinates, *(q.dot for q in coordinates), time, *self.given]
        check_lowerable(self._expressions(), inputs, self.losses)

    @property
    def lagrangian(self) -> Lagrangian:
        """The Lagrangian, with numbers for the parameters of exponents."""
        return self.structure.lagrangian

    @property
    def losses(self) -> dict[str, Callable[..., Any]]:
        """Functions by the names of losses."""
        return self.structure.losses

    @property
    def exponents(self) -> Exponents:
        """The numbers of the parameters of exponents."""
        return self.structure.exponents

    @property
    def given(self) -> dict[Any, Any]:
        """Every parameter with its value, in the order in which they were given."""
        known = {**self.structure.fixed, **self.parameters}
        return {s: known[s] for s in self.structure.order}

    def with_parameters(self: _F, parameters: Mapping[Any, Any]) -> _F:
        """The same flow with other values for some parameters, traced ones included.

        Args:
            parameters: numbers by symbol, for some of the flow's; blocks may have
                arrays.

        Returns:
            A flow of the same class.

        Raises:
            LagrangianError: a parameter that it does not have.
            CannotLower: a value that is no finite real number.
        """
        if not isinstance(parameters, Mapping):
            parameters = check_parameters(parameters, arrays=False)
        if unknown := [p for p in parameters if p not in self.given]:
            raise LagrangianError(
                f"this flow has no parameter `{unknown[0]}`. "
                + nearest(str(unknown[0]), map(str, self.given))
            )
        arrays = self.lagrangian.has_blocks
        changed = check_parameters(parameters, arrays=arrays)
        structure = self.structure
        tied = self.exponents.symbols | set(structure.fixed)
        if not tied.isdisjoint(changed):
            return type(self)(structure.written, {**self.given, **changed}, self.losses)
        leaves = {**self.parameters, **changed}.values()
        return type(self).tree_unflatten(structure, leaves)

    _next = (
        "`.integrate(q, v, t=(0, 10))`, `.with_parameters({...})`, `.ensemble(...)`, "
        "`.section(...)`"
    )
    _engine = frozenset(
        "demands exponents field fingerprint flow_map guard recurrences series settle "
        "sizes structure tree_flatten tree_unflatten evaluate_moving".split()
    )

    def __str__(self) -> str:
        names = few(q.name for q in self.lagrangian.coordinates)
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

    def _pack_traced(self, state: Any, what: str) -> Any:
        """As `_pack`, of numbers of which JAX traces some."""
        raise NotImplementedError

    def _check_start(self, q: Any, v: Any, t: Any) -> None:
        """Raise if the initial state is not one of this system."""

    def _check_moves(self, q: Any, v: Any, t: Any, path: Any) -> None:
        """Raise if no finite accelerations follow at the start of a path that broke."""

    def evaluate(self, expression: Expression, q: S, v: S, t: ArrayLike = 0.0) -> Any:
        """Any SymPy expression in the coordinates at a state; a JAX function.

        Args:
            expression: in coordinates, velocities, `lg.time` and the parameters.
            q, v: the state: for scalars arrays of shape (..., coordinates), for blocks
                an array by each name.
            t: the time, a number.

        Returns:
            An array of shape (...), or for a block-valued expression of the block's
            shape.

        Raises:
            CannotLower: a symbol without a value.
        """
        expression = self.exponents.expression(expression)
        return evaluate([expression], self._values(q, v, t), self.losses)[0]

    def evaluate_moving(
        self, expression: Expression, q: S, v: S, a: S, t: ArrayLike
    ) -> Any:
        """As `evaluate`, with the accelerations `a` known, too; a JAX function."""
        return self.evaluate(expression, q, v, t)

    def energy(self, q: S, v: S, t: ArrayLike = 0.0) -> Any:
        """<p, v> - (T - V) at a state; a JAX function.

        Args:
            q, v: the state, of shapes as for `evaluate`.
            t: the time, a number.

        Returns:
            An array of shape (...), in the units of T.
        """
        return self.evaluate(self.lagrangian.energy, q, v, t)

    def default_solver(self) -> Any:
        """What `integrate` uses when no solver is named."""
        return diffrax.Dopri8()

    def guard(self, laws: Sequence[Law] = ()) -> Guard:
        """What checks the paths of this flow."""
        if not isinstance(laws, Iterable):
            raise LagrangianError(
                f"`laws` is {laws!r}; pass a list of laws, such as "
                "`[lg.noether(system, lg.Translation(x))]`."
            )
        return guard_of(self.structure, tuple(laws))

    def demands(
        self,
        tol: float,
        atol: ArrayLike | None,
        max_step: float | None,
        max_steps: int,
        rates: Sequence[sp.Expr],
    ) -> Demands:
        """What `integrate` was asked for, checked."""
        check_tolerance(tol)
        return Demands(
            tol,
            check_floor(atol, len(self.lagrangian.coordinates)),
            check_longest(max_step),
            whole_number(max_steps, "max_steps", 1),
            tuple(rates),
        )

    def integrate(
        self,
        q0: State,
        v0: State,
        t: Times,
        *,
        solver: Solver | diffrax.AbstractSolver | None = None,
        tol: float = 1e-9,
        atol: ArrayLike | None = None,
        max_step: float | None = None,
        points: int = 201,
        max_steps: int = 1_000_000,
        laws: Sequence[Law] = (),
        project: bool = False,
    ) -> Trajectory:
        """One trajectory in float64, whatever the global JAX configuration is.

        A JAX function of the parameters, the initial state and the times: under `jit`,
        `vmap` and `grad` (inside `jax.enable_x64(True)`) the path holds traced arrays,
        by the series of the motion or a solver of diffrax, and what would raise an
        error gives nan.

        The path is checked before it is returned: the energy must have changed by what
        forces, friction and explicit time did to it, and so must the charge of each of
        `laws`, as far as `tol` allows.

        Args:
            q0, v0: the initial positions and velocities, as mappings from coordinates.
            t: the output times, increasing; a pair is an interval, of which `points`
                evenly spaced times are kept.
            solver: a solver of this library or of diffrax. If None, `Taylor()` for
                scalar coordinates whose equations have Taylor recurrences, a method of
                Dormand and Prince for other scalars, and `diffrax.Dopri8()` for blocks.
            tol: tolerance of each step, relative to the size of each coordinate and
                velocity around that step; no units matter.
            atol: an error that a step may make in any case, in units of the
                coordinates: a number, or one for each coordinate.
            max_step: the longest step. By default steps follow from the series, whose
                functions stay resolved; other solvers take at least 32 steps. An event
                that is shorter than all steps, and that no smooth function announces,
                is seen only with a smaller `max_step`.
            points: how many output times an interval has.
            max_steps: where to give up.
            laws: laws whose balance the path must keep, beside that of the energy.
            project: move a start that violates the constraints onto them, by as little
                as possible in the metric of the mass matrix.

        Returns:
            A `Trajectory` of as many times as were asked for.

        Raises:
            LagrangianError: an argument that cannot be, named.
            IntegrationFailed: `max_steps` did not reach the end, the state stopped
                being finite, or a balance is broken; carries the trajectory until then.
        """
        guard = self.guard(laws)
        demands = self.demands(tol, atol, max_step, max_steps, guard.rates)
        if is_traced(self, q0, v0, t):
            return self._traced(q0, v0, t, points, solver, demands, guard, project)
        times = output_times(t, points)
        with float64(self.sequential):
            state = (self._pack(q0, "q0"), self._pack(v0, "v0"))
            if project:
                state = self._project_start(*state, times[0])
            self._check_start(*state, times[0])
            if solver is None:
                solver = self.default_solver()
            found = solve(self, *state, times, solver, demands)
        path = Trajectory(self, found.t, found.q, found.v, found.steps)
        if found.stopped and len(found.t) < 2:
            self._check_moves(*state, times[0], path)
        guard.check(self, found, solver, tol, path)
        if found.stopped:
            raise stopped_early(found, path)
        return path

    def _traced(
        self,
        q0: Any,
        v0: Any,
        t: Any,
        points: int,
        solver: Any,
        demands: Demands,
        guard: Guard,
        project: bool,
    ) -> Trajectory:
        """The path as a JAX function."""
        check_float64("a flow computes")
        if project or np.any(demands.atol):
            raise LagrangianError(
                "`project` and `atol` have no derivatives. Leave them out under `jit`, "
                "`vmap` and `grad`."
            )
        check_solver(solver)
        q, v = self._pack_traced(q0, "q0"), self._pack_traced(v0, "v0")
        times = traced_times(t, points)
        chosen = self.default_solver() if solver is None else solver
        if isinstance(chosen, DormandPrince):  # which has no derivatives
            chosen = None
        if isinstance(chosen, Taylor) and chosen.order is None:
            limits = demands.tol, demands.max_step, demands.max_steps
            q, v = flow_map(self, q, v, times, Settings(*limits, guard.laws))
        elif chosen is None or isinstance(chosen, diffrax.AbstractSolver):
            found = by_diffrax(self, q, v, times, chosen, demands)
            q, v, integrals, succeeded, steps = found
            path = Seen(times, q, v, integrals)
            ends = (jax.tree.map(lambda x, i=i: x[i], path) for i in (0, -1))
            kept = succeeded & guard.kept(self, *ends, demands.tol, steps)
            q, v = jax.tree.map(lambda x: jnp.where(kept, x, jnp.nan), (q, v))
        else:
            raise LagrangianError(
                f"`solver` is {chosen!r}, which has no derivatives. Leave it out under "
                "`jit`, `vmap` and `grad`, or pass one of diffrax."
            )
        return Trajectory(self, times, q, v, None)

    def _project_start(self, q: Any, v: Any, t: Any) -> tuple[Any, Any]:
        raise LagrangianError(
            "`project` is for constraints, and there are none here. Leave it out."
        )
