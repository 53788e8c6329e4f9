"""Crossings of a surface in phase space: Poincare sections, collisions, conditions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import CannotLower
from lagrangian.flows.solvers.solver import (
    NOT_FINITE,
    OUT_OF_STEPS,
    Demands,
    Solution,
    reached,
)
from lagrangian.flows.solvers.taylor import (
    Limits,
    advance,
    increment,
    limits_for,
    order_for,
    start,
)
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused

#: Into how many parts a step is cut to look for a change of sign or a turn.
_PARTS = 16
#: Bisections of a part: more than there are digits in float64.
_BISECTIONS = 60


def find_crossings(
    flow: Any,
    expression: Any,
    q: Any,
    v: Any,
    span: np.ndarray,
    direction: int,
    count: int,
    demands: Demands,
) -> Solution:
    """See `ScalarFlow.section`."""
    order, n, rates = order_for(demands.tol), len(q), demands.rates
    settings = (expression, direction, count, order, rates)
    limits = limits_for(demands.tol, n, span[1] - span[0])._replace(
        floor=demands.atol[:, None], longest=demands.max_step
    )
    arguments = *map(float, span), limits, demands.max_steps
    found, known, steps, healthy = run(_search, settings, flow, q, v, *arguments)
    t, y = (np.asarray(x)[: int(known)] for x in found)
    stopped = "" if healthy else NOT_FINITE
    if healthy and int(steps) >= demands.max_steps:
        stopped = OUT_OF_STEPS
    parts = y[:, :n], y[:, n : 2 * n], y[:, 2 * n : 2 * n + len(rates)]
    return reached(t, *parts, int(steps), stopped)


def _search(
    flow: Any,
    expression: Any,
    direction: int,
    count: int,
    order: int,
    rates: tuple[Any, ...],
) -> Any:
    n = len(flow.lagrangian.coordinates)
    try:
        # With its integral carried along, steps are so short that the surface, too, is
        # resolved, however fast it waves.
        series = flow.series((*rates, expression))
    except CannotLower:
        series = flow.series(rates)

    def level(q: Any, v: Any, t: Any) -> Any:
        value = flow.evaluate(expression, q, v, t)
        return jnp.asarray(value, jnp.float64).reshape(())

    def search(q: Any, v: Any, begin: Any, end: Any, limits: Limits, most: Any) -> Any:
        y = jnp.concatenate([q, v, jnp.zeros(series.integrals)])
        state = start(y[:, None], begin[None], end[None], n)
        found = jnp.zeros(count), jnp.zeros((count, len(y)))

        def unfinished(carry: Any) -> Any:
            state, _, _, known, steps, healthy = carry
            arrived = (state.now.t[0] >= end) & (state.taken[0] == 0)
            return ~arrived & (known < count) & (steps < most) & healthy

        def body(carry: Any) -> Any:
            state, found, number, known, steps, _ = carry
            taken = advance(series, state, end[None], limits, order)
            # What a step has found counts once the next one has confirmed it.
            known = number = jnp.where(taken.confirmed[0], number, known)
            # A step that was refused is looked at no further.
            step = jnp.where(taken.confirmed[0], taken.length, 0.0)

            def at(since: Any) -> tuple[Any, Any]:
                moved, _ = increment(taken.terms, since / taken.unit, order, n)
                return taken.start.t[0] + since, (taken.terms[0] + moved)[:, 0]

            def value(since: Any) -> Any:
                t, y = at(since)
                return level(y[:n], y[n : 2 * n], t)

            def slope(since: Any) -> Any:
                return jax.jvp(value, (since,), (jnp.ones_like(since),))[1]

            def between(edges: Any, carry: Any) -> Any:
                """Store the crossing between two times, if there is one."""
                found, number, side = carry
                first, last = edges
                right = value(last)
                up, down = (side < 0) & (right >= 0), (side > 0) & (right <= 0)
                crossed = ((direction >= 0) & up) | ((direction <= 0) & down)
                crossed &= last > first

                def store(carry: Any) -> Any:
                    found, number = carry
                    since = _bisect(value, first, last, side)
                    found = tuple(
                        array.at[number].set(x)
                        for array, x in zip(found, at(since), strict=True)
                    )
                    return found, number + 1

                found, number = jax.lax.cond(
                    crossed & (number < count), store, lambda c: c, (found, number)
                )
                return found, number, jnp.sign(right)

            def look(part: Any, carry: Any) -> Any:
                found, number, left_slope = carry
                first, last = step[0] * part / _PARTS, step[0] * (part + 1) / _PARTS
                left, right, right_slope = value(first), value(last), slope(last)
                # Where it is zero, it will have the sign of its slope.
                side = jnp.where(left == 0, jnp.sign(left_slope), jnp.sign(left))
                turns = (side * left_slope < 0) & (right * right_slope > 0)
                turns &= side == jnp.sign(right)
                turn = jax.lax.cond(
                    turns,
                    lambda: _bisect(slope, first, last, left_slope),
                    lambda: last,
                )
                edges = jnp.stack([first, turn, last])
                found, number, _ = jax.lax.fori_loop(
                    0,
                    jnp.where(turns, 2, 1),
                    lambda i, carry: between((edges[i], edges[i + 1]), carry),
                    (found, number, side),
                )
                return found, number, right_slope

            found, number, _ = jax.lax.fori_loop(
                0, _PARTS, look, (found, number, slope(jnp.zeros_like(step[0])))
            )
            return taken.state, found, number, known, steps + 1, taken.healthy[0]

        _, found, _, known, steps, healthy = jax.lax.while_loop(
            unfinished, body, (state, found, 0, 0, 0, jnp.asarray(True))
        )
        return found, known, steps, healthy

    return fused(search)


def _bisect(value: Any, first: Any, last: Any, left: Any) -> Any:
    """Where `value` leaves the sign of `left` between `first` and `last`."""

    def halve(_: Any, bounds: Any) -> Any:
        low, high = bounds
        middle = low + (high - low) / 2
        same = jnp.sign(value(middle)) == jnp.sign(left)
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    return jax.lax.fori_loop(0, _BISECTIONS, halve, (first, last))[1]
