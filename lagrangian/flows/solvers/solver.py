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

from lagrangian.elapsed import elapsed
from lagrangian.errors import IntegrationFailed, LagrangianError
from lagrangian.flows.solvers.projected import Projected
from lagrangian.lowering.kernels.convolutions import ordered


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
    ) -> Solution:
        """The path from one state; called by `Flow.integrate`.

        Args:
            flow: what moves.
            q, v: the packed initial state, float64 of shape (coordinates,) each, or
                what the flow makes of it.
            times: increasing, shape (times,); the first is that of the state.
            demands: tolerances and limits.

        Returns:
            A `Solution`: what was reached of the times.

        Raises:
            LagrangianError: a flow that this solver does not take, by name.
        """
        ...


#: Sizes below this are zero, in any units: there floats have no digits left.
NOTHING = 1e-290

#: Why a solver stopped.
OUT_OF_STEPS = "`max_steps` are used up; raise it, or loosen `tol`"
NOT_FINITE = "the state stops being finite; look for a singularity there"
HELD_STILL = (
    "a force jumps back and forth there, as dry friction that holds a body does, or "
    "one that is singular. End before that, or write a steep smooth function for a "
    "jump, such as `tanh(1000*v)` for the sign of v"
)

#: A step of diffrax's solvers on scalar coordinates is at most this share of the whole
#: time, unless told otherwise: it would step over what is much shorter.
_LONGEST = 1 / 32


@eqx.filter_jit
def _solve(
    motion: Any,
    rates: tuple[Any, ...],
    state: Any,
    scales: Any,
    times: Any,
    solver: Any,
    tol: Any,
    longest: Any,
    max_steps: int,
) -> tuple[Any, Any, Any]:
    """By diffrax, in units of `scales`, so that one absolute tolerance serves all."""
    field = _with_integrals(motion, rates) if rates else motion.field
    if isinstance(state[0], dict):  # blocks: the gradient of a network, it may be
        field = ordered(field)

    def scaled(t: Any, y: Any, _: Any) -> Any:
        slopes = field(t, jax.tree.map(jnp.multiply, y, scales), None)
        return jax.tree.map(jnp.divide, slopes, scales)

    settle: Any = getattr(motion, "settle", None)

    def settled(y: Any, t: Any) -> Any:
        q, v, *integrals = jax.tree.map(jnp.multiply, y, scales)
        on = settle(jnp.concatenate([q, v])[:, None], jnp.reshape(t, 1))[:, 0]
        state = *jnp.split(on, 2), *integrals
        return jax.tree.map(jnp.divide, state, scales)

    if settle is not None:
        solver = Projected(solver, settled)
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
    if settle is not None:  # a step's end is read off its interpolant
        q, v, *integrals = states
        on = settle(jnp.concatenate([q.T, v.T]), times).T
        states = *jnp.split(on, 2, axis=1), *integrals
    return states, succeeded, solution.stats["num_steps"]


def solve(
    flow: Any, q: Any, v: Any, times: np.ndarray, solver: Any, demands: Demands
) -> Solution:
    """Solve by one of this library's solvers, or by a diffrax one (None: Dopri8)."""
    check_solver(solver)
    # Not `isinstance(solver, Solver)` again: it looks for every attribute, in 10 us.
    if not isinstance(solver, diffrax.AbstractSolver | None):
        return solver.solve(flow, q, v, times, demands)
    times = np.asarray(times)
    with elapsed(f"integrating to t = {times[-1]:g}"):
        found = jax.block_until_ready(by_diffrax(flow, q, v, times, solver, demands))
    q, v, integrals, succeeded, steps = found
    stopped = ""
    if not succeeded:
        stopped = OUT_OF_STEPS if int(steps) >= demands.max_steps else NOT_FINITE
    return reached(times, q, v, integrals, int(steps), stopped)


def by_diffrax(
    flow: Any, q: Any, v: Any, times: Any, solver: Any, demands: Demands
) -> tuple[Any, Any, Any, Any, Any]:
    """The states and integrals at `times`, whether all is well, and how many steps.

    A JAX function.
    """
    q, v = jax.tree.map(jnp.asarray, (q, v))
    span = times[-1] - times[0]
    if hasattr(flow, "sizes"):
        scales = _scales(flow, q, v, times[0], span)
    else:
        scales = jax.tree.map(jnp.ones_like, (q, v))
    longest = jnp.asarray(demands.max_step)
    if isinstance(q, jax.Array):  # not of blocks, whose flows are smooth
        longest = jnp.minimum(longest, span * _LONGEST)
    rates, state = demands.rates, (q, v)
    if rates:
        state, scales = (*state, jnp.zeros(len(rates))), (*scales, jnp.ones(len(rates)))
    states, succeeded, steps = _solve(
        # Numbers of Python would be constants to Equinox, and compiled anew.
        jax.tree.map(_traceable, flow),
        rates,
        state,
        scales,
        jnp.asarray(times),
        diffrax.Dopri8() if solver is None else solver,
        jnp.asarray(demands.tol),
        longest,
        demands.max_steps,
    )
    return *states[:2], states[2] if rates else None, succeeded, steps


def _scales(flow: Any, q: Any, v: Any, t: Any, span: Any) -> tuple[Any, Any]:
    """The sizes of positions and velocities near a start, for absolute tolerances.

    From the state and the accelerations there, or the time, so that no units matter; 1
    for what is at rest and stays so.
    """
    tiny = np.finfo(float).tiny
    q, v, a = map(flow.sizes, (q, v, flow.acceleration(q, v, t)))

    def length(q: Any, v: Any, a: Any) -> Any:
        turning = jnp.where(a > tiny, v**2 / jnp.maximum(a, tiny), 0.0)
        size = jnp.maximum(q, turning)
        return jnp.where(size > 0, size, jnp.maximum(v, a * span) * span)

    def speed(q: Any, v: Any, a: Any) -> Any:
        turning = jnp.where(a > tiny, v**2 / jnp.maximum(a, tiny), 0.0)
        size = jnp.maximum(v, jnp.sqrt(jnp.maximum(q, turning) * a))
        return jnp.where(size > 0, size, a * span)

    def known(x: Any) -> Any:
        return jnp.where(x > tiny, x, 1.0)

    scales = (jax.tree.map(size, q, v, a) for size in (length, speed))
    lengths, speeds = (jax.tree.map(known, x) for x in scales)
    return lengths, speeds


def _traceable(leaf: Any) -> Any:
    return jnp.asarray(leaf) if np.isscalar(leaf) or hasattr(leaf, "dtype") else leaf


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


def check_solver(solver: Any) -> None:
    """Raise unless it is an object of this library's or of diffrax, or None."""
    known = solver is None or isinstance(solver, Solver | diffrax.AbstractSolver)
    if not known or isinstance(solver, type):  # a class has its objects' methods, too
        raise LagrangianError(
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
