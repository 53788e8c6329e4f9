"""Lyapunov exponents, from the variational equations along a trajectory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.elapsed import elapsed
from lagrangian.errors import IntegrationFailed
from lagrangian.flows.guard import Seen
from lagrangian.flows.solvers.flow_map import propagate
from lagrangian.flows.solvers.taylor_step import Limits, limits_for, order_for
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused


def lyapunov_exponents(
    flow: Any, q: Any, v: Any, span: np.ndarray, interval: float, tol: float
) -> np.ndarray:
    """See `ScalarFlow.lyapunov_exponents`."""
    n = len(q)
    intervals = max(1, round((span[1] - span[0]) / interval))
    edges = jnp.linspace(span[0], span[1], intervals + 1)
    limits = limits_for(tol, n, span[1] - span[0])
    state = jnp.concatenate([q, v])
    with elapsed(f"integrating to t = {span[1]:g}"):
        growth = np.asarray(
            run(_benettin, (order_for(tol), tol), flow, state, edges, limits)
        )
    stopped = ~np.isfinite(growth).all(axis=1)
    if stopped.any():
        raise IntegrationFailed(
            "the motion, or a deviation from it, stopped being finite or broke the "
            f"balance of the energy between t = {edges[np.argmax(stopped)]:g} and "
            f"{edges[np.argmax(stopped) + 1]:g}. End before that, or look for a "
            "singularity there."
        )
    return np.sort(growth.sum(axis=0) / (span[1] - span[0]))[::-1]


def _benettin(flow: Any, order: int, tol: float) -> Any:
    guard = flow.guard()
    series, nothing = flow.series(guard.rates), jnp.zeros(len(guard.rates))

    def growth(state: Any, edges: Any, limits: Limits) -> Any:
        n = len(state) // 2

        def move(state: Any, begin: Any, end: Any) -> Any:
            y, times = jnp.concatenate([state, nothing]), (begin[None], end[None])
            y, steps = propagate(series, y[:, None], *times, limits, order, 100_000)
            return y[: 2 * n, 0], (y[2 * n :, 0], steps)

        def linearised(state: Any, frame: Any, start: Any, end: Any) -> Any:
            def along(direction: Any) -> Any:
                moving = lambda s: move(s, start, end)
                y, change, rest = jax.jvp(moving, (state,), (direction,), has_aux=True)
                return (y, rest), change

            return jax.vmap(along, in_axes=1, out_axes=(None, 1))(frame)

        kernel = fused(linearised)

        def body(carry: Any, edge: Any) -> Any:
            state, frame = carry
            (arrived, (integrals, steps)), moved = kernel(state, frame, *edge)
            start = Seen(edge[0], state[:n], state[n:], nothing)
            end = Seen(edge[1], arrived[:n], arrived[n:], integrals)
            kept = guard.kept(flow, start, end, tol, steps)
            frame, triangle = jnp.linalg.qr(moved)
            rates = jnp.log(jnp.abs(jnp.diagonal(triangle)))
            return (arrived, frame), jnp.where(kept, rates, jnp.nan)

        pairs = jnp.stack([edges[:-1], edges[1:]], 1)
        return jax.lax.scan(body, (state, jnp.eye(len(state))), pairs)[1]

    return growth
