"""What a solver is given and returns, and the adaptive solvers of diffrax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import IntegrationFailed, LagrangianError


class Demands(NamedTuple):
    """What is asked of a solver.

    Attributes:
        tol: the relative error that a step may make; without effect on fixed steps.
        atol: one that it may make in any case, for each coordinate; zeros if none.
        max_step: the longest step, or infinity for the solver's own choice.
        max_steps: where to give up.
        rates: expressions whose integrals over time from the start are wanted, too.
    """

    tol: float
    atol: Any
    max_step: float
    max_steps: int
    rates: tuple[Any, ...] = ()


class Solution(NamedTuple):
    """The states at those output times that a solver reached.

    Attributes:
        t, q, v: NumPy arrays (or dictionaries of them) with the times first.
        integrals: of the demanded rates, shape (times, rates); None from solvers that
            do not compute them.
        steps: how many steps it took.
        stopped: why it reached no more of the times, in words; empty if it did.
    """

    t: np.ndarray
    q: Any
    v: Any
    integrals: Any
    steps: int
    stopped: str


@runtime_checkable
class Solver(Protocol):
    """A solver of this library: frozen, and driven by `Flow.integrate`.

    `solve` gets the flow, the packed initial state as float64 arrays (inside the
    float64 context), the increasing output times that start with the initial one, and
    the `Demands`. It returns what it reached: a state that is not finite is never in a
    `Solution`. `adaptive` says whether it answers for `Demands.tol`.
    """

    adaptive: ClassVar[bool]

    def solve(
        self, flow: Any, q: Any, v: Any, times: np.ndarray, demands: Demands
    ) -> Solution: ...


#: Sizes below this are zero, in any units: there floats have no digits left.
NOTHING = 1e-290

#: Why a solver stopped.
OUT_OF_STEPS = "`max_steps` are used up; raise it, or loosen `tol`"
NOT_FINITE = "the state stops being finite; look for a singularity there"

#: A step of diffrax's solvers on scalar coordinates is at most this share of the whole
#: time, unless told otherwise: it would step over what is much shorter.
_LONGEST = 1 / 32


@eqx.filter_jit
def _solve(
    field: Callable[..., Any],
    state: Any,
    scales: Any,
    times: Any,
    solver: Any,
    tol: Any,
    longest: Any,
    max_steps: int,
) -> tuple[Any, Any, Any]:
    """By diffrax, in units of `scales`, so that one absolute tolerance serves all."""

    def scaled(t: Any, y: Any, _: Any) -> Any:
        slopes = field(t, jax.tree.map(jnp.multiply, y, scales), None)
        return jax.tree.map(jnp.divide, slopes, scales)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(scaled),
        solver,
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=jax.tree.map(jnp.divide, state, scales),
        saveat=diffrax.SaveAt(ts=times),
        # Steps end on the output times: the solver's interpolant is less accurate.
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=tol, atol=tol, dtmax=longest), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    )
    succeeded = solution.result == diffrax.RESULTS.successful
    states = jax.tree.map(jnp.multiply, solution.ys, scales)
    return states, succeeded, solution.stats["num_steps"]


def solve(
    flow: Any, q: Any, v: Any, times: np.ndarray, solver: Any, demands: Demands
) -> Solution:
    """Solve by one of this library's solvers, or by a diffrax one (None: Dopri8)."""
    if solver is not None and not isinstance(solver, Solver | diffrax.AbstractSolver):
        raise _no_solver(solver)
    if isinstance(solver, type):  # a class has the methods of its objects, too
        raise _no_solver(solver)
    if isinstance(solver, Solver):
        return solver.solve(flow, q, v, times, demands)
    if solver is None:
        solver = diffrax.Dopri8()
    q, v = jax.tree.map(jnp.asarray, (q, v))
    span = float(times[-1] - times[0])
    if hasattr(flow, "scales"):
        scales = flow.scales(q, v, times[0], span)
        longest = min(demands.max_step, span * _LONGEST)
    else:
        scales = jax.tree.map(jnp.ones_like, (q, v))
        longest = demands.max_step
    rates, field = demands.rates, flow.field
    state = (q, v)
    if rates:
        key = ("field with integrals", rates)
        if key not in flow.compiled:
            flow.compiled[key] = _with_integrals(flow, rates)
        field = flow.compiled[key]
        state, scales = (*state, jnp.zeros(len(rates))), (*scales, jnp.ones(len(rates)))
    states, succeeded, steps = _solve(
        field,
        state,
        scales,
        jnp.asarray(times),
        solver,
        jnp.asarray(demands.tol),
        jnp.asarray(longest),
        demands.max_steps,
    )
    stopped = ""
    if not succeeded:
        stopped = OUT_OF_STEPS if int(steps) >= demands.max_steps else NOT_FINITE
    return reached(
        times, *states[:2], states[2] if rates else None, int(steps), stopped
    )


def _with_integrals(flow: Any, rates: tuple[Any, ...]) -> Callable[..., Any]:
    def field(t: Any, state: Any, _: Any) -> Any:
        q, v, _ = state
        slopes = flow.field(t, (q, v), None)
        values = [
            # Blocks with units have a number for each, and a system is their sum.
            sum(
                jnp.sum(flow.evaluate_moving(term, q, v, slopes[1], t))
                for term in sp.Add.make_args(rate)
            )
            for rate in rates
        ]
        return *slopes, jnp.stack([jnp.asarray(x, float) for x in values])

    return field


def _no_solver(solver: Any) -> LagrangianError:
    return LagrangianError(
        f"`solver` is {solver!r}. Pass an object, such as `lg.Taylor()`, "
        "`lg.Symplectic(0.01)` or `diffrax.Dopri8()`."
    )


def stopped_early(solution: Solution, trajectory: Any) -> IntegrationFailed:
    """The error of a path that did not reach its end, with what is known of it."""
    t = solution.t
    last = f"at t = {t[-1]:g}" if len(t) else "before the first output time"
    return IntegrationFailed(
        f"the solver stopped after {solution.steps} steps, and the last known state is "
        f"{last}: {solution.stopped} (the error's `trajectory` holds the path until "
        "then).",
        trajectory,
    )


def reached(
    times: np.ndarray, q: Any, v: Any, integrals: Any, steps: int, stopped: str
) -> Solution:
    """The part of a computed path that is finite, as a `Solution`."""
    q, v, integrals = jax.tree.map(np.asarray, (q, v, integrals))
    finite = np.ones(len(times), bool)
    for leaf in jax.tree.leaves((q, v)):
        finite &= np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim)))
    # What lies behind a gap is not known either.
    finite = np.logical_and.accumulate(finite)
    q, v, integrals = jax.tree.map(lambda leaf: leaf[finite], (q, v, integrals))
    if not finite.all():
        stopped = stopped or NOT_FINITE
    return Solution(times[finite], q, v, integrals, steps, stopped)
