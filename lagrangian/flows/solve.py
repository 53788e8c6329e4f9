"""One adaptive solve by diffrax, with the reason in words when it stops early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


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
    field: Callable[..., Any],
    state: Any,
    times: np.ndarray,
    solver: Any,
    tol: float,
    max_steps: int,
) -> tuple[np.ndarray, Any, Any, bool, int]:
    """(times, q, v, whether it reached the end, steps taken), as NumPy arrays.

    Where the solver stopped early, only the times that it reached are returned.
    """
    solver = diffrax.Dopri8() if solver is None else solver
    states, succeeded, steps = _solve(
        field, state, jnp.asarray(times), solver, tol, max_steps
    )
    q, v = jax.tree.map(np.asarray, states)
    reached = np.ones(len(times), bool)
    for leaf in jax.tree.leaves((q, v)):
        reached &= np.isfinite(leaf.reshape(len(times), -1)).all(axis=1)
    q, v = jax.tree.map(lambda leaf: leaf[reached], (q, v))
    complete = bool(succeeded) and bool(reached.all())
    return times[reached], q, v, complete, int(steps)
