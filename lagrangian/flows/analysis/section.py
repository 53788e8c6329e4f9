"""Crossings of a surface in phase space: Poincare sections, collisions, conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.elapsed import elapsed
from lagrangian.errors import CannotLower
from lagrangian.flows.guard import Guard, Seen, failure
from lagrangian.flows.solvers.solver import (
    NOT_FINITE,
    OUT_OF_STEPS,
    Demands,
    Solution,
    reached,
)
from lagrangian.flows.solvers.taylor_step import (
    Limits,
    State,
    Step,
    advance,
    increment,
    limits_for,
    order_for,
    start,
)
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.taylor import TaylorSeries

#: Into how many parts a step is cut to look for a change of sign or a turn.
_PARTS = 16
#: Bisections of a part: more than there are digits in float64.
_BISECTIONS = 60


class Crossings(NamedTuple):
    """The crossings found so far: times, states, and how many of the places are used.

    A step's own count once the next step has confirmed it.
    """

    t: Any
    y: Any
    number: Any


class Search(NamedTuple):
    """Where a search is: the motion, what it has found, and how much is confirmed."""

    state: State
    found: Crossings
    known: Any
    steps: Any
    healthy: Any


class Curve(NamedTuple):
    """The surface's expression along one step, by the time since its start."""

    state: Callable[[Any], tuple[Any, Any]]
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]


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
    n, rates = len(q), demands.rates
    limits = limits_for(demands.tol, n, span[1] - span[0])._replace(
        floor=demands.atol[:, None], longest=demands.max_step
    )
    settings = (expression, direction, count, order_for(demands.tol), rates)
    arguments = *map(float, span), limits, demands.max_steps
    with elapsed(f"looking for crossings to t = {span[1]:g}"):
        end = jax.block_until_ready(run(_searching, settings, flow, q, v, *arguments))
    t, y = (np.asarray(x)[: int(end.known)] for x in (end.found.t, end.found.y))
    stopped = "" if end.healthy else NOT_FINITE
    if end.healthy and int(end.steps) >= demands.max_steps:
        stopped = OUT_OF_STEPS
    parts = y[:, :n], y[:, n : 2 * n], y[:, 2 * n : 2 * n + len(rates)]
    return reached(t, *parts, int(end.steps), stopped)


def check_crossings(
    flow: Any, start: Any, found: Solution, guard: Guard, path: Any, tol: float
) -> None:
    """Raise if a balance is broken between the start and a crossing.

    Args:
        start: (q, v, t).
        path: of the crossings.

    Raises:
        IntegrationFailed: with the crossings before the first break.
    """
    q, v, t = start
    seen = Seen(
        np.append(t, found.t),
        np.concatenate([q[None], found.q]),
        np.concatenate([v[None], found.v]),
        np.concatenate([np.zeros((1, len(guard.rates))), found.integrals]),
    )
    if broken := guard.broken(flow, seen, tol, found.steps):
        i = broken.index - 1
        raise failure(broken, found.t[i], path.until(i))


def _searching(
    flow: Any,
    expression: Any,
    direction: int,
    count: int,
    order: int,
    rates: tuple[Any, ...],
) -> Callable[..., Search]:
    try:
        # With its integral carried along, steps are so short that the surface, too, is
        # resolved, however fast it waves.
        series = flow.series((*rates, expression))
    except CannotLower:
        series = flow.series(rates)
    n = series.count

    def level(t: Any, y: Any) -> Any:
        value = flow.evaluate(expression, y[:n], y[n : 2 * n], t)
        return jnp.asarray(value, jnp.float64).reshape(())

    @fused
    def search(q: Any, v: Any, begin: Any, end: Any, limits: Limits, most: Any) -> Any:
        def unfinished(at: Search) -> Any:
            arrived = (at.state.now.t[0] >= end) & (at.state.taken[0] == 0)
            return ~arrived & (at.known < count) & (at.steps < most) & at.healthy

        def body(at: Search) -> Search:
            step = advance(series, at.state, end[None], limits, order)
            good = step.confirmed[0]
            found = at.found._replace(number=jnp.where(good, at.found.number, at.known))
            # A step that was refused is looked at no further.
            length = jnp.where(good, step.length, 0.0)[0]
            curve = _curve(series, step, level, order)
            new = _look(curve, length, found, direction, count)
            healthy = step.healthy[0]
            return Search(step.state, new, found.number, at.steps + 1, healthy)

        y = jnp.concatenate([q, v, jnp.zeros(series.integrals)])
        state = start(y[:, None], begin[None], end[None], n)
        none = Crossings(jnp.zeros(count), jnp.zeros((count, len(y))), 0)
        first = Search(state, none, 0, 0, jnp.asarray(True))
        return jax.lax.while_loop(unfinished, body, first)

    return search


def _curve(
    series: TaylorSeries, step: Step, level: Callable[[Any, Any], Any], order: int
) -> Curve:
    def state(since: Any) -> tuple[Any, Any]:
        moved, _ = increment(step.terms, since / step.unit, order, series.count)
        return step.start.t[0] + since, (step.terms[0] + moved)[:, 0]

    def value(since: Any) -> Any:
        return level(*state(since))

    def slope(since: Any) -> Any:
        return jax.jvp(value, (since,), (jnp.ones_like(since),))[1]

    return Curve(state, value, slope)


def _look(
    curve: Curve, length: Any, found: Crossings, direction: int, count: int
) -> Crossings:
    """The crossings with those of one step."""

    def look(part: Any, carry: Any) -> Any:
        found, left_slope = carry
        first, last = length * part / _PARTS, length * (part + 1) / _PARTS
        left, right, right_slope = (
            curve.value(first),
            curve.value(last),
            curve.slope(last),
        )
        # Where it is zero, it will have the sign of its slope.
        side = jnp.where(left == 0, jnp.sign(left_slope), jnp.sign(left))
        turns = (side * left_slope < 0) & (right * right_slope > 0)
        turns &= side == jnp.sign(right)
        turn = jax.lax.cond(
            turns, lambda: _bisect(curve.slope, first, last, left_slope), lambda: last
        )
        edges = jnp.stack([first, turn, last])

        def between(i: Any, carry: Any) -> Any:
            ends = edges[i], edges[i + 1]
            return _stored(curve, *ends, *carry, direction, count)

        found, _ = jax.lax.fori_loop(0, jnp.where(turns, 2, 1), between, (found, side))
        return found, right_slope

    first = found, curve.slope(jnp.zeros_like(length))
    return jax.lax.fori_loop(0, _PARTS, look, first)[0]


def _stored(
    curve: Curve,
    first: Any,
    last: Any,
    found: Crossings,
    side: Any,
    direction: int,
    count: int,
) -> tuple[Crossings, Any]:
    """The crossings with that between two times, if there is one; and the side there.

    `side` is the sign of the expression at the first of them.
    """
    right = curve.value(last)
    up, down = (side < 0) & (right >= 0), (side > 0) & (right <= 0)
    crossed = ((direction >= 0) & up) | ((direction <= 0) & down)
    crossed &= (last > first) & (found.number < count)

    def store(found: Crossings) -> Crossings:
        t, y = curve.state(_bisect(curve.value, first, last, side))
        i = found.number
        return Crossings(found.t.at[i].set(t), found.y.at[i].set(y), i + 1)

    return jax.lax.cond(crossed, store, lambda found: found, found), jnp.sign(right)


def _bisect(value: Any, first: Any, last: Any, left: Any) -> Any:
    """Where `value` leaves the sign of `left` between `first` and `last`."""

    def halve(_: Any, bounds: Any) -> Any:
        low, high = bounds
        middle = low + (high - low) / 2
        same = jnp.sign(value(middle)) == jnp.sign(left)
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    return jax.lax.fori_loop(0, _BISECTIONS, halve, (first, last))[1]
