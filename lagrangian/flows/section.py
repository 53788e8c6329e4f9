"""Crossings of a surface in phase space: Poincare sections, collisions, conditions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.solve import Solution, reached
from lagrangian.flows.taylor import State, advance, increment, order_for
from lagrangian.lowering.fused import fused

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
    tol: float,
    max_steps: int,
) -> Solution:
    """See `ScalarFlow.section`."""
    order = order_for(tol)
    series = flow.taylor_series

    def level(q: Any, v: Any, t: Any) -> Any:
        value = flow.evaluate(expression, q, v, t)
        return jnp.asarray(value, jnp.float64).reshape(())

    def run(q: Any, v: Any, start: Any, end: Any, tol: Any) -> Any:
        zero = jnp.zeros((len(q), 1))
        state = State(start[None], q[:, None], v[:, None], jnp.zeros(1), zero, zero)
        found = (
            jnp.zeros(count),
            jnp.zeros((count, len(q))),
            jnp.zeros((count, len(q))),
        )

        def unfinished(carry: Any) -> Any:
            state, _, number, steps, healthy = carry
            going = (state.t[0] < end) & (number < count) & (steps < max_steps)
            return going & healthy

        def body(carry: Any) -> Any:
            state, found, number, steps, _ = carry
            new, step, q, v = advance(series, state, end, tol, order)

            def at(since: Any) -> tuple[Any, Any, Any]:
                moved = [x[0] + increment(x, since, order) for x in (q, v)]
                return state.t[0] + since, moved[0][:, 0], moved[1][:, 0]

            def value(since: Any) -> Any:
                t, q, v = at(since)
                return level(q, v, t)

            def slope(since: Any) -> Any:
                return jax.jvp(value, (since,), (jnp.ones_like(since),))[1]

            def between(edges: Any, carry: Any) -> Any:
                """Store the crossing between two times, if there is one."""
                found, number, side = carry
                first, last = edges
                right = value(last)
                up, down = (side < 0) & (right >= 0), (side > 0) & (right <= 0)
                crossed = ((direction >= 0) & up) | ((direction <= 0) & down)

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
            healthy = (step[0] > 0) & jnp.isfinite(new.q + new.v).all()
            return new, found, number, steps + 1, healthy

        state, found, number, steps, _ = jax.lax.while_loop(
            unfinished, body, (state, found, 0, 0, jnp.asarray(True))
        )
        complete = (state.t[0] >= end) | (number >= count)
        return found, number, steps, complete

    key = ("section", expression, direction, count, order, max_steps)
    if key not in flow.compiled:
        flow.compiled[key] = jax.jit(fused(run))
    found, number, steps, complete = flow.compiled[key](q, v, *map(float, span), tol)
    t, q, v = (np.asarray(x)[: int(number)] for x in found)
    return reached(t, q, v, bool(complete), int(steps))


def _bisect(value: Any, first: Any, last: Any, left: Any) -> Any:
    """Where `value` leaves the sign of `left` between `first` and `last`."""

    def halve(_: Any, bounds: Any) -> Any:
        low, high = bounds
        middle = low + (high - low) / 2
        same = jnp.sign(value(middle)) == jnp.sign(left)
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    return jax.lax.fori_loop(0, _BISECTIONS, halve, (first, last))[1]
