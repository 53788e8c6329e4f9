"""The way back onto the constraints, by as little as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lagrangian.flows.structure import run
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.kernels.linear_solve import solve_in_lanes
from lagrangian.symbolic.algebra.coordinates import jets


def onto_constraints(flow: Any) -> Any:
    """What brings (y, t) of a `ScalarFlow` in lanes onto them; None without any.

    By Newton's method in the metric of the mass matrix: positions onto the
    holonomic ones, then velocities onto all. A step leaves little to do.
    """
    lagrangian = flow.lagrangian
    constraints = lagrangian.constraints
    if not constraints.expressions:
        return None
    n = len(lagrangian.coordinates)
    matrix, _ = lagrangian.saddle_point
    size = matrix.rows
    gaps = [0 if jets(e, order=1) else e for e in constraints.expressions]

    def moved(q: Any, v: Any, t: Any, missing: Sequence[Any]) -> Any:
        values = flow._values(q, v, t, 0)
        found = evaluate([*matrix, *missing], values)
        entries = [found[i * size : (i + 1) * size] for i in range(size)]
        zero = jnp.zeros(t.shape)
        right = [zero] * n + [-jnp.broadcast_to(x, t.shape) for x in found[-size + n :]]
        return jnp.stack(solve_in_lanes(matrix, entries, right)[:n])

    def settle(y: Any, t: Any) -> Any:
        q, v = y[:n], y[n : 2 * n]
        if any(gap != 0 for gap in gaps):
            q = q + moved(q, v, t, gaps)
            q = q + moved(q, v, t, gaps)
        v = v + moved(q, v, t, constraints.velocity_level)
        return jnp.concatenate([q, v, y[2 * n :]])

    return settle


def project(flow: Any, q: Any, v: Any, t: Any) -> tuple[Any, Any]:
    """One state moved onto the constraints, from far off too."""
    y = jnp.concatenate([q, v])[:, None]
    n = len(q)
    for _ in range(20):
        y = run(onto_constraints, (), flow, y, jnp.full(1, t))
    y = np.asarray(y)[:, 0]
    return y[:n], y[n:]
