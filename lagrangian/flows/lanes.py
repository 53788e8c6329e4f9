"""Many members in a few lanes: adaptive steps of each its own, lanes refilled.

A CPU works on a handful of members at once, one in each lane of its vector registers,
in a loop that is a single kernel. Each lane has its own time and step. Where a member
is done, its lane takes the next one, so that a slow member delays no more than its own
lane. An accelerator gives every member a lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.lowering.fused import largest, total

#: Why a member stopped, by its status.
DONE, RUNNING, STUCK, TOO_MANY_STEPS = range(4)

_TABLEAU = diffrax.Dopri8.tableau
_STAGES = len(_TABLEAU.b_sol) - 1  # the last stage is that of the next step
_ORDER = 8

Field = Callable[[Any, Any, Any], Any]


class Lanes(NamedTuple):
    """What each lane holds; arrays end in the axis of lanes.

    `member` is its member, `written` how many outputs that has, `step` the length of
    the next step and `steps` how many were tried.
    """

    t: Any
    q: Any
    v: Any
    a: Any
    step: Any
    steps: Any
    member: Any
    written: Any


class Results(NamedTuple):
    """One chunk's results, members last: outputs, status, and where each one ended."""

    q: Any
    v: Any
    status: Any
    t: Any
    steps: Any


def integrate_lanes(
    acceleration: Field,
    q0: Any,
    v0: Any,
    a0: Any,
    active: Any,
    times: Any,
    tol: Any,
    lanes: int,
    max_steps: int,
    unrolled: bool,
) -> Results:
    """Integrate members by Dormand and Prince's method of order 8.

    Args:
        acceleration: of (q, v, t) with the lanes as the last axis.
        q0, v0, a0: float64 of shape (coordinates, members). The accelerations come from
            outside because their code is long: it would be compiled twice.
        active: how many of the members there are; those behind them only fill up the
            arrays, and stay `RUNNING`.
        times: the output times, increasing, from the initial one.
        tol: relative and absolute tolerance of each step.
        lanes: how many members are integrated side by side.
        max_steps: for each member.
        unrolled: whether the stages are one long expression and outputs are written at
            once (for accelerators), or both are loops (for the CPU, which compiles and
            runs a short one better).
    """
    n, members = q0.shape
    count = len(times)
    # Idle lanes point behind the last member, to a place that is cut off at the end.
    outputs = jnp.full((count, n, members + 1), jnp.nan)
    results = Results(
        outputs.at[0, :, :members].set(q0),
        outputs.at[0, :, :members].set(v0),
        jnp.full(members + 1, RUNNING),
        jnp.full(members + 1, times[0]),
        jnp.zeros(members + 1, int),
    )

    def load(member: Any) -> Lanes:
        held = jnp.minimum(member, active - 1)
        q, v, a = q0[:, held], v0[:, held], a0[:, held]
        t = jnp.full(member.shape, times[0])
        step = _first_step(q, v, a, tol, times[-1] - times[0])
        zero = jnp.zeros(member.shape, int)
        return Lanes(t, q, v, a, step, zero, member, zero + 1)

    def unfinished(carry: Any) -> Any:
        state, _, _ = carry
        return jnp.any(state.member < active)

    def body(carry: Any) -> Any:
        state, results, next_member = carry
        target = times[jnp.minimum(state.written, count - 1)]
        state, at_target = _attempt(acceleration, state, target, tol, unrolled)
        healthy = jnp.isfinite(state.step) & (state.t + state.step > state.t)
        healthy |= at_target
        written = state.written + at_target
        status = jnp.where(written == count, DONE, RUNNING)
        status = jnp.where(state.steps >= max_steps, TOO_MANY_STEPS, status)
        status = jnp.where(written == count, DONE, status)
        status = jnp.where(healthy, status, STUCK)
        ended = (status != RUNNING) & (state.member < active)
        stored = at_target & (state.member < active)

        def store(carry: Any) -> Any:
            state, results, next_member = carry
            write = _store_at_once if unrolled else _store_in_turn
            results, member, next_member = write(
                results, state, next_member, active, stored, ended, status
            )
            state = state._replace(written=written)
            state = jax.tree.map(
                lambda new, old: jnp.where(ended, new, old), load(member), state
            )
            return state, results, next_member

        return jax.lax.cond(
            jnp.any(stored | ended), store, lambda c: c, (state, results, next_member)
        )

    state = load(jnp.minimum(jnp.arange(lanes), active))
    _, results, _ = jax.lax.while_loop(unfinished, body, (state, results, lanes))
    return jax.tree.map(lambda x: x[..., :members], results)


def _store_in_turn(
    results: Results,
    state: Lanes,
    next_member: Any,
    active: Any,
    stored: Any,
    ended: Any,
    status: Any,
) -> tuple[Results, Any, Any]:
    """Write the outputs of the lanes that have one, and give those that ended a member.

    Lane by lane, as a kernel of a CPU can contain no scatter.
    """
    count, members = results.q.shape[0], results.q.shape[-1] - 1

    def one(lane: Any, carry: Any) -> Any:
        results, member, next_member = carry
        place = jnp.where(stored[lane], state.member[lane], members)
        row = jnp.minimum(state.written[lane], count - 1)
        q, v = (x[None, :, lane, None] for x in (state.q, state.v))
        end = jnp.where(ended[lane], state.member[lane], members)
        results = Results(
            jax.lax.dynamic_update_slice(results.q, q, (row, 0, place)),
            jax.lax.dynamic_update_slice(results.v, v, (row, 0, place)),
            results.status.at[end].set(status[lane]),
            results.t.at[end].set(state.t[lane]),
            results.steps.at[end].set(state.steps[lane]),
        )
        fresh = jnp.where(ended[lane], next_member, member[lane])
        member = member.at[lane].set(jnp.minimum(fresh, active))
        return results, member, next_member + ended[lane]

    return jax.lax.fori_loop(0, len(stored), one, (results, state.member, next_member))


def _store_at_once(
    results: Results,
    state: Lanes,
    next_member: Any,
    active: Any,
    stored: Any,
    ended: Any,
    status: Any,
) -> tuple[Results, Any, Any]:
    """As `_store_in_turn` by scattering: accelerators have too many lanes for turns."""
    count, members = results.q.shape[0], results.q.shape[-1] - 1
    place = jnp.where(stored, state.member, members)
    row = jnp.minimum(state.written, count - 1)
    end = jnp.where(ended, state.member, members)
    results = Results(
        results.q.at[row, :, place].set(state.q.T),
        results.v.at[row, :, place].set(state.v.T),
        results.status.at[end].set(status),
        results.t.at[end].set(state.t),
        results.steps.at[end].set(state.steps),
    )
    fresh = next_member + jnp.cumsum(ended) - 1
    member = jnp.minimum(jnp.where(ended, fresh, state.member), active)
    return results, member, next_member + jnp.sum(ended)


def _attempt(
    acceleration: Field, state: Lanes, target: Any, tol: Any, unrolled: bool
) -> tuple[Lanes, Any]:
    """One step of every lane, kept where its error allows; and who is at its target."""
    last = state.t + state.step * (1 + 1e-10) >= target
    h = jnp.where(last, target - state.t, state.step)
    stages = _stages_unrolled if unrolled else _stages_looped
    dq, dv, a, error_q, error_v = stages(acceleration, state, h)
    q, v = state.q + h * dq, state.v + h * dv
    size = [
        largest(jnp.abs(h * e) / (tol + tol * jnp.maximum(jnp.abs(x), jnp.abs(y))))
        for e, x, y in ((error_q, state.q, q), (error_v, state.v, v))
    ]
    error = jnp.maximum(*size)
    accepted = error <= 1
    # error^(-1/8), at the price of three square roots.
    root = jnp.sqrt(jnp.sqrt(jnp.sqrt(jnp.where(jnp.isfinite(error), error, 1e16))))
    factor = jnp.clip(0.9 / root, 0.1, 6.0)
    # A step that was cut short at an output time says little about the next one.
    step = jnp.where(accepted & last, jnp.maximum(state.step, h * factor), h * factor)

    def kept(new: Any, old: Any) -> Any:
        return jnp.where(accepted, new, old)

    t = kept(jnp.where(last, target, state.t + h), state.t)
    state = state._replace(
        t=t,
        q=kept(q, state.q),
        v=kept(v, state.v),
        a=kept(a, state.a),
        step=step,
        steps=state.steps + 1,
    )
    return state, accepted & last


def _stages_looped(acceleration: Field, state: Lanes, h: Any) -> Any:
    n = len(state.q)
    weights = np.zeros((_STAGES + 1, _STAGES + 1))
    for i, row in enumerate(_TABLEAU.a_lower):
        weights[i + 1, : len(row)] = row
    nodes = jnp.asarray([0.0, *_TABLEAU.c])
    weights = jnp.asarray(weights)[..., None, None]
    base = jnp.concatenate([state.q, state.v])
    slopes = jnp.zeros((_STAGES + 1, *base.shape))
    slopes = slopes.at[0].set(jnp.concatenate([state.v, state.a]))

    def stage(i: Any, slopes: Any) -> Any:
        at = base + h * total(weights[i] * slopes)
        slope = jnp.concatenate(
            [at[n:], acceleration(at[:n], at[n:], state.t + nodes[i] * h)]
        )
        return jax.lax.dynamic_update_index_in_dim(slopes, slope, i, 0)

    slopes = jax.lax.fori_loop(1, _STAGES + 1, stage, slopes)
    solution = jnp.asarray(_TABLEAU.b_sol)[:, None, None]
    error = jnp.asarray(_TABLEAU.b_error)[:, None, None]
    change, missed = (total(w * slopes) for w in (solution, error))
    return change[:n], change[n:], slopes[-1, n:], missed[:n], missed[n:]


def _stages_unrolled(acceleration: Field, state: Lanes, h: Any) -> Any:
    slopes = [(state.v, state.a)]
    for row, node in zip(_TABLEAU.a_lower, _TABLEAU.c, strict=True):
        dq, dv = _weighted(row, slopes)
        q, v = state.q + h * dq, state.v + h * dv
        slopes.append((v, acceleration(q, v, state.t + node * h)))
    change, missed = (_weighted(w, slopes) for w in (_TABLEAU.b_sol, _TABLEAU.b_error))
    return *change, slopes[-1][1], *missed


def _weighted(weights: Any, slopes: list[Any]) -> tuple[Any, Any]:
    used = [(float(w), s) for w, s in zip(weights, slopes, strict=False) if w != 0]
    return tuple(sum(w * s[part] for w, s in used) for part in (0, 1))


def _first_step(q: Any, v: Any, a: Any, tol: Any, span: Any) -> Any:
    """A guess from the sizes of state and slope (Hairer, Norsett & Wanner, II.4)."""

    def size(x: Any, y: Any) -> Any:
        scales = (tol + tol * jnp.abs(q), tol + tol * jnp.abs(v))
        return jnp.maximum(
            largest(jnp.abs(x) / scales[0]), largest(jnp.abs(y) / scales[1])
        )

    state, slope = size(q, v), size(v, a)
    guess = jnp.where((state > 1e-5) & (slope > 1e-5), 0.01 * state / slope, 1e-6)
    return jnp.minimum(guess, span)
