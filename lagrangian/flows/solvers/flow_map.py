"""The flow map: the state at a later time as a differentiable function of this one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.solvers.taylor import (
    Limits,
    State,
    advance,
    limits_for,
    order_for,
    start,
)
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.taylor import TaylorSeries


def propagate(
    series: TaylorSeries,
    y: Any,
    begin: Any,
    end: Any,
    limits: Limits,
    order: int,
    steps: int,
) -> tuple[Any, Any]:
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
    """`propagate` at the finest tolerance, compiled once a flow and number of lanes."""
    tol, n = 1e-15, len(q)
    if "propagate" not in flow.compiled:
        series = flow.taylor_series

        def run(y: Any, begin: Any, end: Any) -> Any:
            limits = limits_for(tol, n, jnp.abs(end - begin))
            return propagate(series, y, begin, end, limits, order_for(tol), 1_000_000)

        flow.compiled["propagate"] = fused(run)
    y = jnp.concatenate([jnp.asarray(x, jnp.float64) for x in (q, v)])
    times = (jnp.asarray(x, jnp.float64) for x in (begin, end))
    y = np.asarray(flow.compiled["propagate"](y, *times)[0])
    return y[:n], y[n:]


def flow_map(
    flow: Any, q: Any, v: Any, t: Any, tol: float, longest: float, steps: int
) -> Any:
    """See `ScalarFlow.flow_map`.

    The derivative is that of the truncated series, step by step, with the steps held
    fixed: the variational equations by the same method. As the Jacobian is formed in
    forward mode and applied as a matrix, it can be transposed.
    """
    symbols, guard = tuple(flow.parameters), flow.guard()
    order, n = order_for(tol), len(flow.lagrangian.coordinates)

    def motion(q: Any, v: Any, begin: Any, end: Any, values: Any) -> Any:
        moving = flow.with_parameters(dict(zip(symbols, values, strict=True)))
        series = moving.series(guard.rates)
        y = jnp.concatenate([q, v, jnp.zeros(len(guard.rates))])
        limits = limits_for(tol, n, jnp.abs(end - begin)[None])._replace(
            longest=longest
        )
        run = fused(lambda *a: propagate(series, *a, limits, order, steps))
        y, taken = run(y[:, None], begin[None], end[None])
        q_end, v_end, integrals = y[:n, 0], y[n : 2 * n, 0], y[2 * n :, 0]
        kept = jax.lax.stop_gradient(
            guard.kept(
                moving, (q, v, begin), (q_end, v_end, end), integrals, tol, taken
            )
        )
        return jnp.where(kept, q_end, jnp.nan), jnp.where(kept, v_end, jnp.nan)

    @jax.custom_jvp
    def solve(q: Any, v: Any, begin: Any, end: Any, values: Any) -> Any:
        return motion(q, v, begin, end, values)

    @solve.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        q, v, begin, end, values = primals
        moved = flow.with_parameters(dict(zip(symbols, values, strict=True)))
        out = solve(*primals)
        dq, dv, dbegin, dend, dvalues = tangents
        # An earlier start is the same as a state that has moved on since then.
        dq = dq - v * dbegin
        dv = dv - moved.acceleration(q, v, begin) * dbegin
        by = jax.jacfwd(motion, argnums=(0, 1, 4))(*primals)
        tangent = tuple(
            row[0] @ dq
            + row[1] @ dv
            + sum(_times(b, d) for b, d in zip(row[2], dvalues, strict=True))
            for row in by
        )
        arrival = out[1], moved.acceleration(*out, end)
        return out, tuple(a + b * dend for a, b in zip(tangent, arrival, strict=True))

    values = tuple(jnp.asarray(flow.parameters[s], jnp.float64) for s in symbols)
    begin, end = (jnp.asarray(time, jnp.float64) for time in t)
    return solve(jnp.asarray(q), jnp.asarray(v), begin, end, values)


def _times(derivative: Any, tangent: Any) -> Any:
    return jnp.tensordot(derivative, tangent, axes=jnp.ndim(tangent))
