"""The flow map: the state at a later time as a differentiable function of this one."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.guard import Seen
from lagrangian.flows.solvers.taylor_step import (
    Limits,
    State,
    advance,
    limits_for,
    order_for,
    start,
)
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.taylor import TaylorSeries
from lagrangian.symbolic.laws.noether import Law


def propagate(
    series: TaylorSeries,
    y: Any,
    begin: Any,
    end: Any,
    limits: Limits,
    order: int,
    steps: int,
) -> Any:
    """The states of all lanes at their own ends, and how many steps they took in all.

    A state is nan where `steps` do not suffice.

    Args:
        y: shape (2 coordinates + integrals, lanes).
        begin, end: shape (lanes,); backwards in time where the end is earlier.
    """
    state = start(y, begin, end, series.count)

    def running(state: State, healthy: Any) -> Any:
        return ((state.now.t != end) | (state.taken > 0)) & healthy

    def unfinished(carry: Any) -> Any:
        count, state, healthy = carry
        return (count < steps) & jnp.any(running(state, healthy))

    def body(carry: Any) -> Any:
        count, state, healthy = carry
        step = advance(series, state, end, limits, order)
        going = running(state, healthy)
        held = jax.tree.map(lambda a, b: jnp.where(going, a, b), step.state, state)
        return count + 1, held, healthy & (step.healthy | ~going)

    healthy = jnp.ones(begin.shape, bool)
    count, state, _ = jax.lax.while_loop(unfinished, body, (0, state, healthy))
    arrived = (state.now.t == end) & (state.taken == 0)
    return jnp.where(arrived, state.now.y, jnp.nan), count


def propagate_lanes(flow: Any, q: Any, v: Any, begin: Any, end: Any) -> Any:
    """`propagate` at the finest tolerance."""
    y = jnp.concatenate([jnp.asarray(x, jnp.float64) for x in (q, v)])
    times = (jnp.asarray(x, jnp.float64) for x in (begin, end))
    y = np.asarray(run(_lanes, (1e-15,), flow, y, *times))
    return y[: len(q)], y[len(q) :]


def _lanes(flow: Any, tol: float) -> Any:
    series = flow.series(())

    def move(y: Any, begin: Any, end: Any) -> Any:
        limits = limits_for(tol, series.count, jnp.abs(end - begin))
        order = order_for(tol)
        return propagate(series, y, begin, end, limits, order, 1_000_000)[0]

    return fused(move)


class Settings(NamedTuple):
    """What a flow map is compiled for; the laws are guarded beside the energy."""

    tol: float
    longest: float
    steps: int
    laws: tuple[Law, ...] = ()


def flow_map(flow: Any, q: Any, v: Any, times: Any, settings: Settings) -> Any:
    """The states at all `times` of the motion through (q, v) at the first of them.

    The derivative is that of the truncated series, step by step, with the steps held
    fixed: the variational equations by the same method. As the Jacobian is formed in
    forward mode and applied as a matrix, it can be transposed. A state is nan where the
    steps do not suffice or a balance is broken.

    Returns:
        positions and velocities, shape (times, coordinates).
    """
    arguments = (jnp.asarray(x, jnp.float64) for x in (q, v, times))
    return run(_along, (settings,), flow, *arguments)


def _along(flow: Any, settings: Settings) -> Any:
    def along(q: Any, v: Any, times: Any) -> Any:
        def segment(state: Any, ends: Any) -> Any:
            state = _moved(settings, flow, *state, *ends)
            return state, state

        _, later = jax.lax.scan(segment, (q, v), (times[:-1], times[1:]))
        first = q[None], v[None]
        return tuple(jnp.concatenate(parts) for parts in zip(first, later, strict=True))

    return along


def _motion(settings: Settings, flow: Any, q: Any, v: Any, begin: Any, end: Any) -> Any:
    tol, longest, steps, laws = settings
    guard, n = flow.guard(laws), len(q)
    series, order = flow.series(guard.rates), order_for(tol)
    nothing = jnp.zeros(len(guard.rates))
    y = jnp.concatenate([q, v, nothing])
    limits = limits_for(tol, n, jnp.abs(end - begin)[None])
    limits = limits._replace(longest=longest)
    move = fused(lambda *a: propagate(series, *a, limits, order, steps))
    y, taken = move(y[:, None], begin[None], end[None])
    arrived = y[:n, 0], y[n : 2 * n, 0]
    start, stop = Seen(begin, q, v, nothing), Seen(end, *arrived, y[2 * n :, 0])
    kept = guard.kept(flow, start, stop, tol, taken)
    return tuple(jnp.where(kept, x, jnp.nan) for x in arrived)


_moved = jax.custom_jvp(_motion, nondiff_argnums=(0,))


@_moved.defjvp
def _(settings: Settings, primals: Any, tangents: Any) -> Any:
    flow, q, v, begin, end = primals
    out = _moved(settings, *primals)
    dflow, dq, dv, dbegin, dend = tangents
    # An earlier start is the same as a state that has moved on since then.
    dq = dq - v * dbegin
    dv = dv - flow.acceleration(q, v, begin) * dbegin
    by = jax.jacfwd(partial(_motion, settings), argnums=(0, 1, 2))(*primals)
    changes = jax.tree.leaves((dflow, dq, dv))
    arrival = out[1], flow.acceleration(*out, end)
    return out, tuple(
        sum(map(_times, jax.tree.leaves(rows), changes)) + rate * dend
        for rows, rate in zip(by, arrival, strict=True)
    )


def _times(derivative: Any, tangent: Any) -> Any:
    return jnp.tensordot(derivative, tangent, axes=jnp.ndim(tangent))
