"""Flows: the explicit equations of a Lagrangian as JAX functions, and their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import diffrax
import jax
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.flows.arguments import (
    check_floor,
    check_longest,
    check_tolerance,
    output_times,
    whole_number,
)
from lagrangian.flows.guard import Guard, failure
from lagrangian.flows.solvers.solver import Demands, solve, stopped_early
from lagrangian.flows.trajectory import Trajectory
from lagrangian.lowering.evaluate import check_lowerable, evaluate
from lagrangian.lowering.exponents import Exponents, parts
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


class Flow:
    """The motion of one Lagrangian with its parameters; made by `lower`.

    The state is a pair (q, v). Subclasses say how it is laid out: `ScalarFlow` as
    arrays whose last axis runs over the coordinates, `BlockFlow` as dictionaries of
    arrays by block name.

    Attributes:
        written: the Lagrangian as it was given to `lower`.
        lagrangian: the same with numbers for the parameters of exponents.
        given: every parameter with its value.
        parameters: those of them that `lagrangian` contains, as symbols.
        losses: functions by the names of losses.
    """

    def __init__(
        self,
        lagrangian: Lagrangian,
        parameters: Mapping[Any, Any],
        losses: Mapping[str, Callable[..., Any]],
    ):
        self.written, self.given, self.losses = lagrangian, parameters, losses
        self.exponents = Exponents(parts(lagrangian), parameters)
        self.lagrangian = self.exponents.lagrangian(lagrangian)
        numbers = self.exponents.numbers
        self.parameters = {s: x for s, x in parameters.items() if s not in numbers}
        #: What solvers have compiled for this flow, by their own keys.
        self.compiled: dict[Any, Any] = {}
        coordinates = self.lagrangian.coordinates
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

    def _check_moves(self, q: Any, v: Any, t: Any, path: Any) -> None:
        """Raise if no finite accelerations follow at the start of a path that broke."""

    def acceleration(self, q: Any, v: Any, t: Any = 0.0) -> Any:
        """The second time derivatives at a state, in its layout; a JAX function."""
        raise NotImplementedError

    def evaluate(self, expression: Any, q: Any, v: Any, t: Any = 0.0) -> Any:
        """Any SymPy expression in the coordinates at a state; a JAX function."""
        expression = self.exponents.expression(expression)
        return evaluate([expression], self._values(q, v, t), self.losses)[0]

    def evaluate_moving(self, expression: Any, q: Any, v: Any, a: Any, t: Any) -> Any:
        """As `evaluate`, with the accelerations `a` known, too; a JAX function."""
        return self.evaluate(expression, q, v, t)

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

    def guard(self, laws: Sequence[Law] = ()) -> Guard:
        """What checks the paths of this flow; made once for the same laws."""
        if not isinstance(laws, Iterable):
            raise LagrangianError(
                f"`laws` is {laws!r}; pass a list of laws, such as "
                "`[lg.noether(system, lg.Translation(x))]`."
            )
        key = ("guard", *map(id, laws))
        if key not in self.compiled:
            # The laws are kept along, so that no other gets the place of one of them.
            exact = [
                self.exponents.law(law) if isinstance(law, Law) else law for law in laws
            ]
            self.compiled[key] = (Guard(self, exact), laws)
        return self.compiled[key][0]

    def demands(
        self, tol: float, atol: Any, max_step: Any, max_steps: Any, rates: Any
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
        q0: Any,
        v0: Any,
        t: Sequence[float | int],
        *,
        solver: Any = None,
        tol: float = 1e-9,
        atol: Any = None,
        max_step: float | None = None,
        points: int = 201,
        max_steps: int = 1_000_000,
        laws: Sequence[Law] = (),
        project: bool = False,
    ) -> Trajectory:
        """One trajectory in float64, whatever the global JAX configuration is.

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

        Raises:
            LagrangianError: an argument that cannot be, named.
            IntegrationFailed: `max_steps` did not reach the end, the state stopped
                being finite, or a balance is broken; carries the trajectory until then.
        """
        times = output_times(t, points)
        guard = self.guard(laws)
        demands = self.demands(tol, atol, max_step, max_steps, guard.rates)
        with jax.enable_x64(True):
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
        if not getattr(solver, "adaptive", True):
            tol = np.inf
        arrays = found.t, found.q, found.v, found.integrals
        if len(found.t) and (broken := guard.broken(*arrays, tol, found.steps)):
            raise failure(broken, found.t[broken.index], path.until(broken.index))
        if found.stopped:
            raise stopped_early(found, path)
        return path

    def _project_start(self, q: Any, v: Any, t: Any) -> tuple[Any, Any]:
        raise LagrangianError(
            "`project` is for constraints, and there are none here. Leave it out."
        )
