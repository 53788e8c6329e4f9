"""Members whose paths break the balance of a law: found, and marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.guard import Guard, Seen
from lagrangian.flows.solvers.dopri8_lanes import DONE, Results
from lagrangian.flows.structure import run
from lagrangian.lowering.platform import on_cpu

#: The status of such a member, beside those of `dopri8_lanes`.
BROKEN = 4

#: The times at which all members are looked at.
_ENDS = np.array([0, -1])


def looked_at(
    flow: Any,
    guard: Guard,
    times: np.ndarray,
    results: Results,
    active: int,
    tol: float,
) -> tuple[Sequence[Any], np.ndarray]:
    """States and integrals, members first; and which members break a balance.

    One that is broken stays so: all are looked at where they ended.
    """
    if not on_cpu():
        # There, where the states are: a host takes longer for this than for the paths.
        arguments = results, jnp.asarray(times), float(tol)
        *y, wrong = run(_looked_at_there, (guard,), flow, *arguments)
        return y, np.flatnonzero(np.asarray(wrong)[:active])
    n = len(flow.lagrangian.coordinates)
    # Members last in the kernel, first for users.
    all_of_it = np.transpose(np.array(results.y), (2, 0, 1))
    y = [all_of_it[..., part] for part in _parts(n)]
    done = np.flatnonzero(np.asarray(results.status)[:active] == DONE)
    steps = np.asarray(results.steps)
    wrong = _wrong(flow, guard, times, y, done, _ENDS, tol, steps)
    return y, done[wrong[-1]]


def _looked_at_there(flow: Any, guard: Guard) -> Callable[..., Any]:
    """As `looked_at`, as a JAX function."""
    n = len(flow.lagrangian.coordinates)

    def looked_at(results: Results, times: Any, tol: Any) -> tuple[Any, ...]:
        def wrong(y: Any, steps: Any) -> Any:
            path = Seen(times[_ENDS], *(y[:, part] for part in _parts(n)))
            found = guard.missed(flow, path, tol, steps)
            return jnp.any(jnp.stack([~(m <= allowed)[-1] for _, m, allowed in found]))

        y = jnp.transpose(results.y, (2, 0, 1))
        broken = jax.vmap(wrong)(y[:, _ENDS], results.steps)
        return *(y[..., part] for part in _parts(n)), broken & (results.status == DONE)

    return looked_at


def _parts(n: int) -> tuple[slice, ...]:
    """Where q, v and the integrals are."""
    return slice(n), slice(n, 2 * n), slice(2 * n, None)


def _wrong(
    flow: Any,
    guard: Guard,
    times: np.ndarray,
    y: Sequence[np.ndarray],
    members: np.ndarray,
    rows: Any,
    tol: float,
    steps: np.ndarray,
    exactly: bool = False,
) -> np.ndarray:
    """Whether balances are broken, of shape (times, members), at some of the times."""
    some = [np.moveaxis(x[members][:, rows], 1, 0) for x in y]  # times first
    at = np.broadcast_to(times[rows, None], some[0].shape[:2])
    found = guard.missed(flow, Seen(at, *some), tol, steps[members], exactly)
    return np.any([~(m <= allowed) for _, m, allowed in found], axis=0)


def mark_broken(
    flow: Any,
    guard: Guard,
    times: np.ndarray,
    y: Sequence[np.ndarray],
    parts: Mapping[str, np.ndarray],
    suspects: np.ndarray,
    tol: float,
) -> None:
    """Give those members a status of their own that break a balance, and no states.

    At every output time, since they do where they ended.
    """
    for member in suspects:
        only, rows = np.array([member]), slice(None)
        along = _wrong(
            *(flow, guard, times, y, only, rows, tol, parts["steps"]), exactly=True
        )[:, 0]
        if not along.any():
            continue
        first = int(np.argmax(along))
        parts["status"][member], parts["t"][member] = BROKEN, times[first]
        for x in y[:2]:
            x[member, first:] = np.nan
