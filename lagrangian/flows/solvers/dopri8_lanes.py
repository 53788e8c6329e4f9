"""Many members in a few lanes: adaptive steps of each its own, lanes refilled.

A CPU works on a handful of members at once, one in each lane of its vector registers,
in a loop that is a single kernel. Each lane has its own time and step. Where a member
is done, its lane takes the next one, so that a slow member delays no more than its own
lane. An accelerator has as many lanes as keep all of it at work, and refills them all
at once, on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.solvers.solver import NOTHING
from lagrangian.lowering.kernels.fused import largest, smallest, total

#: Why a member stopped, by its status.
DONE, RUNNING, STUCK, TOO_MANY_STEPS = range(4)
#: Behind what ensembles add.
HELD = 5

_TABLEAU = diffrax.Dopri8.tableau
#: The last stage is the first one of the next step.
STAGES = len(_TABLEAU.b_sol) - 1
#: Of each stage's state in the slopes before it, and the times of the stages.
WEIGHTS = np.zeros((STAGES + 1, STAGES + 1))
for _i, _row in enumerate(_TABLEAU.a_lower, 1):
    WEIGHTS[_i, :_i] = _row
NODES = np.array([0.0, *_TABLEAU.c])
#: Of the error in the slopes of all stages.
ERROR = np.asarray(_TABLEAU.b_error)

#: A step is at most this share of the whole time, unless told otherwise: its thirteen
#: stages then see what is a few hundredths of that wide.
_LONGEST = 1 / 32

#: The estimate is the error of a method of lower order, and may be so many `tol`.
_ESTIMATE = 2.0

#: Steps of so many roundings of the time are the shortest, and a force that jumps is
#: crossed by one of them. So many in a row, without one longer by the factor behind
#: them, are no crossing: the force jumps back and forth, and holds the motion.
_SHORTEST, _CROSSINGS, _LEFT = 4 * np.finfo(float).eps, 100, 1e6
#: By what share of the largest velocity so far such a step may change it, or by `tol`,
#: if that is more; or the velocity is so small a share of the change. In between lie
#: singularities.
_JUMP, _FROM_REST = 1e-9, 1e-6

#: (y, t) to dy/dt, where y is (q, v, integrals) with the lanes as the last axis.
Field = Callable[[Any, Any], Any]


class Lanes(NamedTuple):
    """What each lane holds; arrays end in the axis of lanes.

    `member` is its member, `written` how many outputs that has, `step` the length of
    the next step and `steps` how many were tried. `most` are the largest sizes that the
    velocities have had but for jumps, shape (coordinates, lanes), and `crossed` how
    many of the shortest steps were taken in a row.
    """

    t: Any
    y: Any
    slope: Any
    noise: Any
    step: Any
    steps: Any
    member: Any
    written: Any
    most: Any
    crossed: Any


class Bounds(NamedTuple):
    """What bounds a step.

    `tol` is relative, `floor` absolute for each coordinate, shape (coordinates, 1), and
    `longest` a time.
    """

    tol: Any
    floor: Any
    longest: Any

    def within(self, times: Any) -> Bounds:
        """These, with a longest step for the output times where none was given."""
        share = (times[-1] - times[0]) * _LONGEST
        given = jnp.isfinite(self.longest)
        return self._replace(longest=jnp.where(given, self.longest, share))


class Results(NamedTuple):
    """One chunk's results, members last: outputs, status, and where each one ended."""

    y: Any
    status: Any
    t: Any
    steps: Any


def integrate_lanes(
    field: Field,
    y0: Any,
    slope0: Any,
    noise: Any,
    active: Any,
    times: Any,
    bounds: Bounds,
    settle: Callable[[Any, Any], Any] | None,
    reach: Callable[[Any, Any, Any], Any] | None,
    jumps: bool,
    lanes: int,
    max_steps: int,
    at_once: bool,
) -> Results:
    """Integrate members by Dormand and Prince's method of order 8.

    Args:
        field: of (y, t) with the lanes as the last axis.
        y0, slope0: float64 of shape (2 coordinates + integrals, members). The slopes
            come from outside because their code is long: it would be compiled twice.
        noise: the rounding of the accelerations, shape (coordinates, members).
        active: how many of the members there are; those behind them only fill up the
            arrays, and stay `RUNNING`.
        times: the output times, increasing, from the initial one.
        bounds: of each step.
        settle: brings (y, t) back onto the constraints; None without any.
        reach: how long a step from (y, slope, t) may be; None without a limit.
        jumps: whether forces may jump, which the shortest steps then cross.
        lanes: how many members are integrated side by side.
        max_steps: for each member.
        at_once: whether outputs are written and lanes refilled by scattering, for many
            lanes, or lane by lane, as a kernel of a CPU must.
    """
    rows, members = y0.shape
    count = len(times)
    # Idle lanes point behind the last member, to a place that is cut off at the end.
    outputs = jnp.full((count, rows, members + 1), jnp.nan)
    results = Results(
        outputs.at[0, :, :members].set(y0),
        jnp.full(members + 1, RUNNING),
        jnp.full(members + 1, times[0]),
        jnp.zeros(members + 1, int),
    )
    bounds = bounds.within(times)

    def load(member: Any) -> Lanes:
        held = jnp.minimum(member, active - 1)
        return started(
            *(y0[:, held], slope0[:, held], noise[:, held], member, times[0], bounds)
        )

    def unfinished(carry: Any) -> Any:
        state, _, _ = carry
        return jnp.any(state.member < active)

    def body(carry: Any) -> Any:
        state, results, next_member = carry
        target = times[jnp.minimum(state.written, count - 1)]
        proposal = proposed(state, target, bounds, reach)
        # Derivatives of a motion are those with its steps held fixed.
        proposal = proposal._replace(h=jax.lax.stop_gradient(proposal.h))
        found = _stages(field, state, proposal.h)
        state, at_target, ended, status = advanced(
            *(state, proposal, found, target, count),
            *(bounds, settle, jumps, max_steps),
        )
        ended &= state.member < active
        stored = at_target & (state.member < active)

        def store(carry: Any) -> Any:
            state, results, next_member = carry
            write = _store_at_once if at_once else _store_in_turn
            results, member, next_member = write(
                results, state, next_member, active, stored, ended, status
            )
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


def started(
    y: Any, slope: Any, noise: Any, member: Any, start: Any, bounds: Bounds
) -> Lanes:
    """What lanes hold of their members before the first step."""
    n, zero = len(noise), jnp.zeros_like(member)
    t, step = jnp.full(member.shape, start), _first_step(y, slope, n, bounds)
    most = jnp.abs(y[n : 2 * n])
    return Lanes(t, y, slope, noise, step, zero, member, zero + 1, most, zero)


class Proposal(NamedTuple):
    """The next step: by error control, cut at the target, and whether it was."""

    step: Any
    h: Any
    last: Any


class Stages(NamedTuple):
    """What the stages find, over h: the change and its error; and the slope behind."""

    change: Any
    slope: Any
    missed: Any


class Advance(NamedTuple):
    """What a step of all lanes leads to: who is at an output time, who ended and how.

    `state.written` counts what is stored, too.
    """

    state: Lanes
    stored: Any
    ended: Any
    status: Any


def advanced(
    state: Lanes,
    proposal: Proposal,
    found: Stages,
    target: Any,
    count: int,
    bounds: Bounds,
    settle: Callable[[Any, Any], Any] | None,
    jumps: bool,
    max_steps: int,
) -> Advance:
    """The lanes behind the step that was proposed, kept where its error allows.

    Args:
        count: how many output times there are.
    """
    state, at_target = _judged(state, proposal, found, target, bounds, settle, jumps)
    healthy = jnp.isfinite(state.step) & (state.t + state.step > state.t)
    healthy |= at_target
    written = state.written + at_target
    status = jnp.where(written == count, DONE, RUNNING)
    status = jnp.where(state.steps >= max_steps, TOO_MANY_STEPS, status)
    status = jnp.where(written == count, DONE, status)
    status = jnp.where(healthy, status, STUCK)
    status = jnp.where(state.crossed < _CROSSINGS, status, HELD)
    return Advance(
        state._replace(written=written), at_target, status != RUNNING, status
    )


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
    members = results.y.shape[-1] - 1

    def one(lane: Any, carry: Any) -> Any:
        results, member, next_member = carry
        place = jnp.where(stored[lane], state.member[lane], members)
        row = state.written[lane] - 1
        y = state.y[None, :, lane, None]
        end = jnp.where(ended[lane], state.member[lane], members)
        results = Results(
            jax.lax.dynamic_update_slice(results.y, y, (row, 0, place)),
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
    members = results.y.shape[-1] - 1
    place = jnp.where(stored, state.member, members)
    row = state.written - 1
    end = jnp.where(ended, state.member, members)
    results = Results(
        results.y.at[row, :, place].set(state.y.T),
        results.status.at[end].set(status),
        results.t.at[end].set(state.t),
        results.steps.at[end].set(state.steps),
    )
    fresh = next_member + jnp.cumsum(ended) - 1
    member = jnp.minimum(jnp.where(ended, fresh, state.member), active)
    return results, member, next_member + jnp.sum(ended)


def proposed(
    state: Lanes,
    target: Any,
    bounds: Bounds,
    reach: Callable[[Any, Any, Any], Any] | None,
) -> Proposal:
    """The length of the next step of every lane towards its target."""
    step = jnp.minimum(state.step, bounds.longest)
    if reach is not None:
        step = jnp.minimum(step, reach(state.y, state.slope, state.t))
    last = state.t + step * (1 + 1e-10) >= target
    return Proposal(step, jnp.where(last, target - state.t, step), last)


def _judged(
    state: Lanes,
    proposal: Proposal,
    found: Stages,
    target: Any,
    bounds: Bounds,
    settle: Callable[[Any, Any], Any] | None,
    jumps: bool,
) -> tuple[Lanes, Any]:
    """The step of every lane, kept where its error allows; and who is at its target."""
    (step, h, last), (change, slope, missed) = proposal, found
    y = state.y + h * change
    error = _error(state, y, slope, missed, h, bounds)
    # error^(-1/8), at the price of three square roots.
    root = jnp.sqrt(jnp.sqrt(jnp.sqrt(jnp.where(jnp.isfinite(error), error, 1e16))))
    factor = jnp.clip(0.9 / root, 0.1, 6.0)
    accepted = error <= 1
    if jumps:
        shortest = _SHORTEST * jnp.abs(state.t)
        short = jnp.minimum(step, target - state.t) <= shortest
        crosses = ~accepted & short & _jumps(state, slope, h, bounds)
        accepted, factor = accepted | crosses, jnp.where(crosses, 6.0, factor)
    # A step that was cut short at an output time says little about the next one.
    step = jnp.where(accepted & last, jnp.maximum(step, h * factor), h * factor)
    if jumps:
        step = jnp.where(short & ~accepted, jnp.nan, jnp.maximum(step, shortest))
        state = _crossed(state, y, accepted & (h > _LEFT * shortest), crosses)

    def kept(new: Any, old: Any) -> Any:
        return jnp.where(accepted, new, old)

    t = kept(jnp.where(last, target, state.t + h), state.t)
    y, slope = kept(y, state.y), kept(slope, state.slope)
    if settle is not None:
        y = settle(y, t)
    state = state._replace(t=t, y=y, slope=slope, step=step, steps=state.steps + 1)
    return state, accepted & last


def _crossed(state: Lanes, y: Any, left: Any, crosses: Any) -> Lanes:
    """What is remembered of jumps: `left` is a step that is none of the shortest."""
    n = len(state.most)
    # From rest, not the velocities that the jump itself makes.
    most = jnp.maximum(state.most, jnp.where(left, jnp.abs(y[n : 2 * n]), 0.0))
    crossed = jnp.where(left, 0, state.crossed + crosses)
    return state._replace(most=most, crossed=crossed)


def _error(
    state: Lanes, y: Any, slope: Any, missed: Any, h: Any, bounds: Bounds
) -> Any:
    """The error of a step, in units of what is allowed: the largest coordinate's.

    Relative to the size that each coordinate, and each velocity, has around the step:
    that of its value and of what its slope changes it by. So neither a zero of it nor
    the units matter. Of terms that cancel, rounding is left; it is no error.
    """
    n = state.noise.shape[0]
    size = jnp.maximum(
        jnp.maximum(jnp.abs(state.y), jnp.abs(y)),
        h * jnp.maximum(jnp.abs(state.slope), jnp.abs(slope)),
    )[: 2 * n]
    unknown = h * state.noise
    floor = jnp.concatenate([bounds.floor + h * unknown, bounds.floor / h + unknown])
    allowed = jnp.maximum(_ESTIMATE * bounds.tol * size, floor)
    return largest(jnp.abs(h * missed[: 2 * n]) / (allowed + NOTHING))


def _jumps(state: Lanes, slope: Any, h: Any, bounds: Bounds) -> Any:
    """Whether all that is wrong with the shortest steps is a force that jumps.

    Where it jumps as a velocity changes its sign, or at rest, the error is the same
    share of that velocity for all steps, however short; but what a step changes is
    nothing beside the velocities that there were before. Next to a singularity it is
    about as large as they are, once its error is not small.
    """
    n = state.noise.shape[0]
    change = h * jnp.maximum(jnp.abs(state.slope), jnp.abs(slope))[n : 2 * n]
    share = jnp.maximum(_JUMP, bounds.tol)
    jumps = (change <= share * state.most) | (state.most <= _FROM_REST * change)
    return smallest(jnp.where(jumps, 1.0, 0.0)) > 0


def _stages(field: Field, state: Lanes, h: Any) -> Stages:
    slopes = jnp.zeros((STAGES + 1, *state.y.shape)).at[0].set(state.slope)
    weights, nodes = jnp.asarray(WEIGHTS)[..., None, None], jnp.asarray(NODES)

    def stage(i: Any, slopes: Any) -> Any:
        at = state.y + h * total(weights[i] * slopes)
        slope = field(at, state.t + nodes[i] * h)
        return jax.lax.dynamic_update_index_in_dim(slopes, slope, i, 0)

    slopes = jax.lax.fori_loop(1, STAGES + 1, stage, slopes)
    solution = jnp.asarray(_TABLEAU.b_sol)[:, None, None]
    error = jnp.asarray(ERROR)[:, None, None]
    change, missed = (total(w * slopes) for w in (solution, error))
    return Stages(change, slopes[-1], missed)


def _first_step(y: Any, slope: Any, n: int, bounds: Bounds) -> Any:
    """A hundredth of the shortest time in which something changes by its own size.

    Where it is too long, the error says so; where too short, it soon grows.
    """
    tiny = np.finfo(float).tiny
    state, rate = jnp.abs(y[: 2 * n]), jnp.abs(slope[: 2 * n])
    times = state / jnp.maximum(rate, tiny)
    falls = jnp.sqrt(state[:n] / jnp.maximum(rate[n:], tiny))
    known = jnp.concatenate([times, falls])
    known = jnp.where((known > 0) & (known < 1e100), known, jnp.inf)
    return jnp.minimum(0.01 * smallest(known), bounds.longest)
