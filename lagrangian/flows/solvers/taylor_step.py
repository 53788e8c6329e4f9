"""One step of a Taylor series: how long it may be, and whether the last one holds.

The step is where the last terms of the series reach the tolerance, and it counts once
the next series begins with the accelerations that it predicted. Why nothing fools it
stands in docs/decisions/step-control.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.flows.solvers.solver import NOTHING
from lagrangian.lowering.kernels.fused import either, largest
from lagrangian.lowering.taylor import TaylorSeries

#: A step is at most so many times as long as the one before it.
_GROWTH = 4.0
#: So many coefficients decide about a step: more than symmetries make vanish in a row,
#: but for high powers, which the comparison with the equations sees.
_WINDOW = 8
#: How large the last term of a series may be, in units of `tol`: so small that those
#: behind it, and their sum over many steps in which they have the same sign, stay below
#: `tol`, too.
_ERROR = 0.03
#: How large the difference between the accelerations at the end of a step, as its
#: series and as the equations have them, may be, in units of `tol`: ten or twenty
#: times the error that it makes, as it grows with the power `order` of time.
_DEFECT = 16.0
#: What rounding may leave of forces that cancel, in units of rounding one of them.
_ROUNDING = 16
#: How often a step is halved before the rounding of positions is believed to be all
#: that is wrong with it, and before the equations count as not smooth there.
_PATIENCE, _HALVINGS = 5, 40
#: Where the series is a polynomial of low degree, it says nothing of how far it holds:
#: then a step is at most this share of the whole time.
_BLIND = 1 / 256

#: Where the motion has no series, the part of the time for which another method is
#: taken; twice that if it ends at another such place.
STRETCH = 1e-3


class Limits(NamedTuple):
    """What bounds a step.

    `tol` is relative, `floor` absolute for each coordinate, shape (coordinates, 1);
    `longest` and `blind` are times, `blind` for steps that the series says nothing of.
    """

    tol: Any
    floor: Any
    longest: Any
    blind: Any


class Point(NamedTuple):
    """Time and state, each with the rounding error of its sum.

    Shapes (lanes,) and (2 coordinates + integrals, lanes), float64. The true value is
    nearer to t + t_rest than to t: over millions of steps the sums do not lose digits.
    """

    t: Any
    y: Any
    t_rest: Any
    y_rest: Any


class State(NamedTuple):
    """Where a motion has come, by a step that the equations have yet to confirm.

    Attributes:
        now, before: the end and the start of the last step.
        taken: its length, positive; zero once it is confirmed, and at the start.
        predicted: the accelerations at its end, by its series.
        most: how long the next step may be.
        halvings: how often in a row a step was refused.
        noisy: whether the rounding of positions is all that is wrong with the steps.
    """

    now: Point
    before: Point
    taken: Any
    predicted: Any
    most: Any
    halvings: Any
    noisy: Any


class Rounding(NamedTuple):
    """What rounding leaves unknown, shape (coordinates, lanes).

    Attributes:
        forces: of each acceleration, from the terms that add up to it.
        all_forces: of each, if it feels the rounding of all others, in the metric of
            the mass matrix.
        positions: of each position, likewise. Where one moves by less than its last
            digit, the forces do not see it move.
    """

    forces: Any
    all_forces: Any
    positions: Any

    def everywhere(self, h: Any) -> Any:
        """How well a velocity can be known after a time h, at worst."""
        return h * self.all_forces + self.positions / h


class Step(NamedTuple):
    """What one call of `advance` did.

    It confirmed the last step, and took the next one from `start`, whose series in
    powers of time/unit is `terms`; or, not `confirmed`, it went back. Not `healthy` is
    a lane that finds no step.
    """

    state: State
    start: Point
    length: Any
    terms: Any
    unit: Any
    confirmed: Any
    healthy: Any


def order_for(tol: float) -> int:
    """The order at which a step costs least for its length, at this tolerance."""
    return max(4, math.ceil(-math.log(tol) / 1.45 + 2))


def limits_for(tol: Any, count: int, span: Any) -> Limits:
    """The limits of `count` coordinates over a time, without any of the user's own."""
    return Limits(tol, np.zeros((count, 1)), np.inf, span * _BLIND)


def start(y: Any, t: Any, end: Any, n: int) -> State:
    """The state to start from, for arrays of shape (rows, lanes) and (lanes,).

    Of NumPy's it is made by NumPy.
    """
    xp: Any = np if isinstance(t, np.ndarray) else jnp
    span = abs(end - t)
    first = xp.where(span > 0, span / _GROWTH, 1.0)
    zero, rest = xp.zeros_like(t), xp.zeros_like(y)
    point = Point(t, y, zero, rest)
    none = xp.zeros(t.shape, int)
    return State(point, point, zero, rest[:n], first, none, none > 0)


def advance(
    series: TaylorSeries, state: State, end: Any, limits: Limits, order: int
) -> Step:
    """One step, no further than `end`; or back, if the last one is refused.

    The series about the end of a step begins with the accelerations there, as the
    equations have them. They must be those that the series about its start predicted.
    """
    n, now = series.count, state.now
    unit = _power_of_two(jax.lax.stop_gradient(state.most) / _GROWTH)
    expansion = series.expand(now.y, now.t, unit, order)
    terms = expansion.terms
    held, reach, gross, masses = jax.lax.stop_gradient(expansion)
    rounding = _rounding(now.y[:n], gross, masses)
    confirmed, noisy = _confirmed(state, held[1, n : 2 * n] / unit, rounding, limits)

    rest = (end - now.t) - now.t_rest
    far = jnp.abs(jax.lax.stop_gradient(rest))
    most = jnp.minimum(jnp.minimum(reach, state.most), limits.longest)
    unknown = either(noisy, rounding.everywhere(unit), unit * rounding.forces)
    length, finite = _length(n, held, unknown, unit, limits, order)
    length = jnp.minimum(length, most)
    last = length >= far
    step = either(last, rest, jnp.sign(rest) * length)
    change, slope = increment(terms, step / unit, order, n)
    t, t_rest = _sum(now.t, now.t_rest, step)
    # Exactly there, so that nobody has to ask how near is near enough.
    t, t_rest = either(last, end, t), either(last, 0.0, t_rest)
    y, y_rest = _sum(now.y, now.y_rest, change)
    if series.settle is not None:
        y, y_rest = series.settle(y, t), jnp.zeros_like(y)
    taken = jnp.minimum(length, far)
    forward = State(
        Point(t, y, t_rest, y_rest),
        now,
        taken,
        slope / unit,
        _GROWTH * taken,
        either(state.taken > 0, 0, state.halvings),
        noisy,
    )
    # Where the terms overflow, the unit was too long by far.
    most = either(finite, state.taken / 2, state.most * 2.0**-16)
    zero, halvings = jnp.zeros_like(taken), state.halvings + 1
    before = state.before
    back = State(before, before, zero, slope, most, halvings, state.noisy)
    good = confirmed & finite
    new = jax.tree.map(lambda a, b: either(good, a, b), forward, back)
    healthy = new.halvings < _HALVINGS
    healthy &= (new.taken > 4 * np.finfo(float).eps * jnp.abs(new.now.t)) | last | ~good
    return Step(new, now, step, terms, unit, good, healthy)


def _confirmed(
    state: State, true: Any, rounding: Rounding, limits: Limits
) -> tuple[Any, Any]:
    """Whether the accelerations at the end of a step are those that it predicted.

    Their difference is a force that is not there; it may change a velocity by
    `_DEFECT * tol` of its size, or by what rounding does to the forces anyway. Also by
    what rounding does to the positions, if halving the step has not helped; the second
    result is whether that was needed.
    """
    n, h = len(true), state.taken
    v, v_before = state.now.y[n : 2 * n], state.before.y[n : 2 * n]
    size = jnp.maximum(jnp.maximum(jnp.abs(v), jnp.abs(v_before)), h * jnp.abs(true))
    allowed = _DEFECT * jnp.maximum(limits.tol * size, limits.floor / h)
    allowed += _ROUNDING * h * rounding.forces + NOTHING
    missed = h * jnp.abs(state.predicted - true) - allowed
    still = h == 0
    exact = (largest(missed) <= 0) | still
    rough = largest(missed - _ROUNDING * rounding.everywhere(h)) <= 0
    rough &= state.noisy | (state.halvings >= _PATIENCE)
    return exact | rough, either(still, state.noisy, rough & ~exact)


def _rounding(q: Any, gross: Any, masses: Any) -> Rounding:
    eps, weights = np.finfo(float).eps, jnp.sqrt(jnp.abs(masses))

    def spread(x: Any) -> Any:
        share = largest(weights * x) / either(weights > 0, weights, 1.0)
        return either(weights > 0, share, x)

    forces = eps * gross
    return Rounding(forces, spread(forces), spread(eps * jnp.abs(q)))


def _power_of_two(x: Any) -> Any:
    """The largest power of two up to a positive x: multiplying by it is exact."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int64)
    return jax.lax.bitcast_convert_type(bits & (0x7FF << 52), jnp.float64)


def _log2(x: Any) -> Any:
    """log2 to 0.05, and -1023 of zero: the bits of a float are nearly its logarithm."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int64)
    return bits.astype(jnp.float64) * 2.0**-52 - 1022.95


def _length(
    n: int, terms: Any, unknown: Any, unit: Any, limits: Limits, order: int
) -> tuple[Any, Any]:
    """Where the last terms of velocities and integrals are `_ERROR * tol`.

    Relative to the size of each coordinate's velocity around the step, which is the
    largest of its value and of what the first derivatives change it by: so neither a
    zero of it nor the units matter. The positions follow, being its integrals.

    Several terms are looked at, because symmetries make some vanish. As terms of
    motions fall at least as fast as 1/k!, an older one is allowed to be larger by that.
    """
    v = jnp.abs(terms[:, n:])
    window = np.arange(max(2, order - _WINDOW + 1), order + 1)
    late = v[window[0] :]
    size = jnp.maximum(jnp.maximum(v[0], v[1]), jnp.maximum(v[2], v[3]))
    # What begins with a higher power is compared with itself.
    size = either(size > 0, size, largest(late))
    unknown = (limits.floor / unit + unknown + NOTHING) / limits.tol
    if len(size) > n:
        zero = jnp.zeros((len(size) - n, *unknown.shape[1:]))
        unknown = jnp.concatenate([unknown, zero])
    size = jnp.maximum(size, unknown)
    share = largest(late / either(size > 0, size, 1.0), axis=1)
    room = (np.log2(order / window)[:, None]) - _log2(share) / window[:, None]
    exponent = jnp.log2(_ERROR * limits.tol) / order - largest(-room)
    most = largest(share)
    length = either(most > 0, unit * jnp.exp2(exponent), limits.blind)
    return length, jnp.isfinite(most)


def increment(terms: Any, share: Any, order: int, n: int) -> tuple[Any, Any]:
    """The series at `share`, time in its unit, without its constant term.

    And the derivative by `share` of its rows n to 2 n, the velocities.
    """

    def horner(i: Any, carry: Any) -> Any:
        value, slope = carry
        term = jax.lax.dynamic_index_in_dim(terms, order - i, 0, False)
        return value * share + term, slope * share + value[n : 2 * n]

    zero = jnp.zeros_like(terms[0])
    value, slope = jax.lax.fori_loop(0, order, horner, (zero, zero[n : 2 * n]))
    return value * share, value[n : 2 * n] + share * slope


def _sum(value: Any, rest: Any, increment: Any) -> tuple[Any, Any]:
    """value + increment and its rounding error (Kahan, 1965)."""
    increment = increment + rest
    total = value + increment
    return total, increment - (total - value)
