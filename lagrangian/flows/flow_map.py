"""The flow map: the state at a later time as a differentiable function of this one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.taylor import State, advance, order_for
from lagrangian.lowering.fused import fused
from lagrangian.lowering.taylor import TaylorSeries


def propagate(
    series: TaylorSeries, q: Any, v: Any, start: Any, end: Any, tol: float, steps: int
) -> tuple[Any, Any]:
    """The states of all lanes at their own ends; nan where `steps` do not suffice.

    Args:
        q, v: shape (coordinates, lanes).
        start, end: shape (lanes,); backwards in time where the end is earlier.
    """
    order = order_for(tol)
    zero = jnp.zeros_like(q)
    state = State(start, q, v, jnp.zeros_like(start), zero, zero)

    def running(state: State) -> Any:
        return (state.t != end) & jnp.isfinite(state.q + state.v).all(axis=0)

    def unfinished(carry: Any) -> Any:
        count, state = carry
        return (count < steps) & jnp.any(running(state))

    def body(carry: Any) -> Any:
        count, state = carry
        new, *_ = advance(series, state, end, tol, order)
        going = running(state)
        held = jax.tree.map(lambda a, b: jnp.where(going, a, b), new, state)
        return count + 1, held

    _, state = jax.lax.while_loop(unfinished, body, (0, state))
    arrived = state.t == end
    return jnp.where(arrived, state.q, jnp.nan), jnp.where(arrived, state.v, jnp.nan)


def propagate_lanes(flow: Any, q: Any, v: Any, start: Any, end: Any) -> Any:
    """`propagate` at the finest tolerance, compiled once a flow and number of lanes."""
    if "propagate" not in flow.compiled:
        series = flow.taylor_series
        flow.compiled["propagate"] = fused(
            lambda *state: propagate(series, *state, tol=1e-15, steps=1_000_000)
        )
    arrays = (jnp.asarray(x, jnp.float64) for x in (q, v, start, end))
    return tuple(np.asarray(x) for x in flow.compiled["propagate"](*arrays))


def flow_map(flow: Any, q: Any, v: Any, t: Any, tol: float, steps: int) -> Any:
    """See `ScalarFlow.flow_map`.

    The derivative is that of the truncated series, step by step, with the steps held
    fixed: the variational equations by the same method. As the Jacobian is formed in
    forward mode and applied as a matrix, it can be transposed.
    """
    symbols = tuple(flow.parameters)

    def motion(q: Any, v: Any, start: Any, end: Any, values: Any) -> Any:
        series = flow.with_parameters(dict(zip(symbols, values, strict=True)))
        lanes = (q[:, None], v[:, None], start[None], end[None])
        run = fused(lambda *a: propagate(series.taylor_series, *a, tol, steps))
        q_end, v_end = run(*lanes)
        return q_end[:, 0], v_end[:, 0]

    @jax.custom_jvp
    def solve(q: Any, v: Any, start: Any, end: Any, values: Any) -> Any:
        return motion(q, v, start, end, values)

    @solve.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        q, v, start, end, values = primals
        moved = flow.with_parameters(dict(zip(symbols, values, strict=True)))
        out = solve(*primals)
        dq, dv, dstart, dend, dvalues = tangents
        # An earlier start is the same as a state that has moved on since then.
        dq = dq - v * dstart
        dv = dv - moved.acceleration(q, v, start) * dstart
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
    start, end = (jnp.asarray(time, jnp.float64) for time in t)
    return solve(jnp.asarray(q), jnp.asarray(v), start, end, values)


def _times(derivative: Any, tangent: Any) -> Any:
    return jnp.tensordot(derivative, tangent, axes=jnp.ndim(tangent))
