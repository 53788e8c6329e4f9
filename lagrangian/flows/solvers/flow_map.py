"""The flow map: the state at a later time as a differentiable function of this one."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.guard import Seen
from lagrangian.flows.solvers.dopri8_lanes import DONE, Bounds, integrate_lanes
from lagrangian.flows.solvers.lanes import (
    field_in_lanes,
    noise_in_lanes,
    reach_in_lanes,
)
from lagrangian.flows.solvers.taylor_step import (
    STRETCH,
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

#: The least that the method is asked which leads over places without a series.
_FINEST = 1e-14


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
    state, count = _by_series(series, y, begin, end, limits, order, steps)
    return jnp.where(_arrived(state, end), state.now.y, jnp.nan), count


def _arrived(state: State, end: Any) -> Any:
    return (state.now.t == end) & (state.taken == 0)


def _by_series(
    series: TaylorSeries,
    y: Any,
    begin: Any,
    end: Any,
    limits: Limits,
    order: int,
    steps: Any,
) -> tuple[State, Any]:
    """As `propagate`, but where each lane has come, if it is not the end."""
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
    return state, count


def propagate_over_kinks(
    flow: Any,
    rates: tuple[Any, ...],
    y: Any,
    begin: Any,
    end: Any,
    limits: Limits,
    order: int,
    steps: int,
) -> Any:
    """As `propagate` in one lane, of a motion that has no series for a moment.

    As under a force |v|^(3/2) at rest. Dormand and Prince's method leads over such a
    place, as in `Taylor.solve`: for a thousandth of the time, or twice that of the last
    place if it is not left behind.
    """
    series = flow.series(rates)
    field, settle = field_in_lanes(flow, rates), flow.settle
    by_series = fused(lambda *a: _by_series(series, *a[:3], limits, order, a[3]))
    # Its errors are not smaller, whatever is asked.
    tol = jnp.maximum(limits.tol, _FINEST)
    bounds = Bounds(tol, limits.floor, limits.longest)
    span = jnp.abs(end - begin)
    ahead = jnp.where(end < begin, -1.0, 1.0)

    def over(y: Any, t: Any, stop: Any) -> tuple[Any, Any, Any]:
        """The state at `stop`, whether it was reached, and how many steps it took."""

        # Backwards in time by a clock that runs backwards.
        def slopes(y: Any, since: Any) -> Any:
            return ahead * field(y, t + ahead * since)

        far = reach_in_lanes(flow)
        reach = far and (lambda y, s, since: far(y, ahead * s, t + ahead * since))
        settled = settle and (lambda y, since: settle(y, t + ahead * since))
        times = jnp.concatenate([0.0 * t, jnp.abs(stop - t)])
        noise = noise_in_lanes(flow, rates, y, t)
        # Not as one kernel, which could not be batched.
        found = integrate_lanes(
            *(slopes, y, slopes(y, times[:1]), noise, 1, times, bounds),
            settle=settled,
            reach=reach,
            jumps=False,
            lanes=1,
            max_steps=steps,
            at_once=True,
        )
        return found.y[1], (found.status == DONE)[0], found.steps[0]

    def unfinished(carry: Any) -> Any:
        _, t, _, count, _, healthy = carry
        return (t[0] != end[0]) & healthy & (count < steps)

    def body(carry: Any) -> Any:
        y, t, stretch, count, first, _ = carry
        state, taken = by_series(y, t, end, steps - count)
        now, count = state.now, count + taken
        there = _arrived(state, end)[0]
        stuck = jnp.abs(now.t - t) < stretch
        stretch = jnp.where(stuck & ~first, 2 * stretch, span * STRETCH)
        near = jnp.abs(end - now.t) <= stretch
        stop = jnp.where(near, end, now.t + ahead * stretch)
        skipped = lambda: (now.y, jnp.asarray(True), jnp.zeros((), int))
        led = lambda: over(now.y, now.t, stop)
        y, healthy, taken = jax.lax.cond(there, skipped, led)
        none = jnp.asarray(False)
        return y, jnp.where(there, end, stop), stretch, count + taken, none, healthy

    yes = jnp.asarray(True)
    carry = y, begin, span * STRETCH, jnp.zeros((), int), yes, yes
    y, t, _, count, _, healthy = jax.lax.while_loop(unfinished, body, carry)
    return jnp.where((t == end) & healthy, y, jnp.nan), count


def propagate_lanes(flow: Any, q: Any, v: Any, begin: Any, end: Any) -> Any:
    """`propagate` at the finest tolerance."""
    y = jnp.concatenate([jnp.asarray(x, jnp.float64) for x in (q, v)])
    times = (jnp.asarray(x, jnp.float64) for x in (begin, end))
    y = np.asarray(run(_lanes, (1e-15,), flow, y, *times))
    return y[: len(q)], y[len(q) :]


def _lanes(flow: Any, tol: float) -> Any:
    series, order, steps = flow.series(()), order_for(tol), 1_000_000

    def move(y: Any, begin: Any, end: Any) -> Any:
        limits = limits_for(tol, series.count, jnp.abs(end - begin))
        return propagate(series, y, begin, end, limits, order, steps)[0]

    def one(y: Any, begin: Any, end: Any) -> Any:
        y, begin, end = y[:, None], begin[None], end[None]
        limits = limits_for(tol, series.count, jnp.abs(end - begin))
        states = y, begin, end, limits, order, steps
        return propagate_over_kinks(flow, (), *states)[0][:, 0]

    if series.may_end:
        return jax.vmap(one, in_axes=(1, 0, 0), out_axes=1)
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
    state = y[:, None], begin[None], end[None]
    if series.may_end:
        y, taken = propagate_over_kinks(flow, guard.rates, *state, limits, order, steps)
    else:
        move = fused(lambda *a: propagate(series, *a, limits, order, steps))
        y, taken = move(*state)
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
