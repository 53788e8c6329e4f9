"""The equations of a `ScalarFlow` as what steps many lanes at once takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy as sp

from lagrangian.errors import CannotLower
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.groups import SATURATING, resolved, saturating_room
from lagrangian.lowering.kernels.linear_solve import (
    UNROLLED_IN_LANES,
    felt,
    is_diagonal,
)
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.exact.boundary import KINKED

#: What is lost where forces cancel, as a share of their sizes.
_ROUNDING = 64 * np.finfo(float).eps


def field_in_lanes(flow: Any, rates: Sequence[Any], levels: bool = True) -> Any:
    """dy/dt as a function of (y, t), for y = (q, v, integrals of rates) in lanes.

    Arrays have the lanes as their last axis. With `levels`, all nodes of a level of
    many coupled masses are one array, as a loop in lanes has them.
    """
    if levels and (series := by_levels(flow, rates)) is not None:
        return series.field
    n, rates = len(flow.lagrangian.coordinates), list(rates)
    symbols = [c.ddot for c in flow.lagrangian.coordinates]
    symbols += flow.lagrangian.constraints.multipliers

    def field(y: Any, t: Any) -> Any:
        q, v = y[:n], y[n : 2 * n]
        x = flow._solution(q, v, t, 0)
        slopes = [v, x[:n]]
        if rates:
            unknowns = [*x[:n], *(-row for row in x[n:])]
            values = flow._values(q, v, t, 0)
            values |= dict(zip(symbols, unknowns, strict=True))
            found = evaluate(rates, values)
            slopes.append(jnp.stack([jnp.broadcast_to(r, t.shape) for r in found]))
        return jnp.concatenate(slopes)

    return field


def noise_in_lanes(flow: Any, rates: Sequence[Any], y: Any, t: Any) -> Any:
    """The rounding of the accelerations where forces cancel: shape (n, lanes).

    Each feels the rounding of all forces, by the inverse of the mass matrix.

    Args:
        rates, y, t: as `field_in_lanes` takes them, whose recurrences these are.
    """
    n = len(flow.lagrangian.coordinates)
    if (series := by_levels(flow, rates)) is not None:
        return _ROUNDING * series.gross(y, t)
    matrix, right = flow.lagrangian.saddle_point
    parts = [sp.Add.make_args(force) for force in right]
    # Off the diagonal only where there is anything: of many members it is much.
    masses = matrix.diagonal() if is_diagonal(matrix) else matrix
    flat = [*masses, *(term for terms in parts for term in terms)]
    found = evaluate(flat, flow._values(y[:n], y[n : 2 * n], t, 0))
    found = iter([jnp.broadcast_to(x, t.shape) for x in found])
    entries = jnp.stack([next(found) for _ in masses])
    sizes = jnp.stack([sum(abs(next(found)) for _ in terms) for terms in parts])
    if is_diagonal(matrix):
        gross = sizes / jnp.abs(entries)
    else:
        gross = felt(matrix, entries.reshape(*matrix.shape, *t.shape), sizes)[:n]
    return _ROUNDING * jnp.where(jnp.isfinite(gross), gross, 0.0)


def reach_in_lanes(flow: Any) -> Any | None:
    """How far in time functions that are flat far out stay resolved, of (y, slope, t).

    As `Group.reach` has it for series: a wall exp(-x^2), felt by no stage of a step
    that leads over it, is announced by what it is a function of. None without any.
    """
    lagrangian = flow.lagrangian
    coordinates, n = lagrangian.coordinates, len(lagrangian.coordinates)
    moving = {time, *coordinates, *(c.dot for c in coordinates)}
    parts = sp.Tuple(*lagrangian.mass_matrix, *lagrangian.forcing)
    watched = [
        f for f in parts.atoms(*SATURATING) if not moving.isdisjoint(f.args[0].atoms())
    ]
    if not watched:
        return None
    watched.sort(key=sp.default_sort_key)
    rooms = np.array([SATURATING[type(function)] for function in watched])[..., None]
    terms = []
    for function in watched:
        argument = function.args[0]
        first = total_derivative(argument)
        # Without accelerations in it, whose derivatives are not known here.
        second = sp.S.Zero if jets(first, order=2) else total_derivative(first) / 2
        terms += [argument, first, second]

    def reach(y: Any, slope: Any, t: Any) -> Any:
        values = flow._values(y[:n], y[n : 2 * n], t, 0)
        values |= {c.ddot: slope[n + i] for i, c in enumerate(coordinates)}
        found = [jnp.broadcast_to(x, t.shape) for x in evaluate(terms, values)]
        size, first, second = (
            jnp.abs(jnp.stack(found)).reshape(-1, 3, *t.shape).swapaxes(0, 1)
        )
        return resolved(saturating_room(size, rooms), first, second)

    return reach


def may_jump(flow: Any) -> bool:
    """Whether the equations contain a function that jumps, or has a kink."""
    parts = sp.Tuple(*flow.lagrangian.mass_matrix, *flow.lagrangian.forcing)
    return parts.has(*KINKED)


def by_levels(flow: Any, rates: Sequence[Any]) -> Any | None:
    """The recurrences of a flow of many coupled masses, if its functions have them.

    All nodes of a level are one array. XLA takes minutes for as many single
    expressions, of which there are thirteen times as many in a step without loops.
    """
    matrix, _ = flow.lagrangian.saddle_point
    if matrix.rows <= UNROLLED_IN_LANES or is_diagonal(matrix):
        return None
    try:
        return flow.series(tuple(rates))
    except CannotLower:
        return None
