"""What a solver is given and returns, and the adaptive solvers of diffrax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import IntegrationFailed, LagrangianError


class Solution(NamedTuple):
    """The states at those output times that a solver reached.

    `q` and `v` are NumPy arrays (or dictionaries of them) with the times first;
    `complete` says whether all of the times were reached, `steps` how many steps it
    took.
    """

    t: np.ndarray
    q: Any
    v: Any
    complete: bool
    steps: int


@runtime_checkable
class Solver(Protocol):
    """A solver of this library: frozen, and driven by `Flow.integrate`.

    `solve` gets the flow, the packed initial state as float64 arrays (inside the
    float64 context), the increasing output times that start with the initial one, the
    tolerance of a step (which fixed-step solvers ignore) and where to give up. It
    returns what it reached: a state that is not finite is never in a `Solution`.
    """

    def solve(
        self, flow: Any, q: Any, v: Any, times: np.ndarray, tol: float, max_steps: int
    ) -> Solution: ...


@eqx.filter_jit
def _solve(
    field: Callable[..., Any],
    state: Any,
    times: Any,
    solver: Any,
    tol: Any,
    max_steps: int,
) -> tuple[Any, Any, Any]:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=state,
        saveat=diffrax.SaveAt(ts=times),
        # Steps end on the output times: the solver's interpolant is less accurate.
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=tol, atol=tol), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    )
    succeeded = solution.result == diffrax.RESULTS.successful
    return solution.ys, succeeded, solution.stats["num_steps"]


def solve(
    flow: Any,
    q: Any,
    v: Any,
    times: np.ndarray,
    solver: Any,
    tol: float,
    max_steps: int,
) -> Solution:
    """Solve by one of this library's solvers, or by a diffrax one (None: Dopri8)."""
    if solver is not None and not isinstance(solver, Solver | diffrax.AbstractSolver):
        raise _no_solver(solver)
    if isinstance(solver, type):  # a class has the methods of its objects, too
        raise _no_solver(solver)
    if isinstance(solver, Solver):
        return solver.solve(flow, q, v, times, tol, max_steps)
    if solver is None:
        solver = diffrax.Dopri8()
    state = jax.tree.map(jnp.asarray, (q, v))
    states, succeeded, steps = _solve(
        flow.field, state, jnp.asarray(times), solver, jnp.asarray(tol), max_steps
    )
    return reached(times, *states, bool(succeeded), int(steps))


def _no_solver(solver: Any) -> LagrangianError:
    return LagrangianError(
        f"`solver` is {solver!r}. Pass an object, such as `lg.Taylor()`, "
        "`lg.Symplectic(0.01)` or `diffrax.Dopri8()`."
    )


def stopped_early(t: np.ndarray, steps: int, trajectory: Any) -> IntegrationFailed:
    """The error of a path that did not reach its end, with what is known of it."""
    last = f"at t = {t[-1]:g}" if len(t) else "before the first output time"
    return IntegrationFailed(
        f"the solver stopped after {steps} steps; the last finite state is {last}. "
        "Loosen `tol`, raise `max_steps`, or look for a singularity there (the error's "
        "`trajectory` holds the path until then).",
        trajectory,
    )


def reached(times: np.ndarray, q: Any, v: Any, succeeded: bool, steps: int) -> Solution:
    """The part of a computed path that is finite, as a `Solution`."""
    q, v = jax.tree.map(np.asarray, (q, v))
    finite = np.ones(len(times), bool)
    for leaf in jax.tree.leaves((q, v)):
        finite &= np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim)))
    q, v = jax.tree.map(lambda leaf: leaf[finite], (q, v))
    return Solution(times[finite], q, v, succeeded and bool(finite.all()), steps)
