"""Integration by Taylor series of high order, with order and step from the tolerance.

After Jorba & Zou, "A software package for the numerical integration of ODEs by means
of high-order Taylor methods" (2005): the order grows with the logarithm of the
tolerance, and the step is where the last two terms reach it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from lagrangian.errors import LagrangianError
from lagrangian.flows.solve import Solution, reached
from lagrangian.lowering.fused import fused, smallest
from lagrangian.lowering.taylor import TaylorSeries

#: So many steps, a second or so, run between two looks at the clock and the keyboard.
_SEGMENT = 200_000


class State(NamedTuple):
    """Time, positions and velocities, each with the rounding error of its sum.

    Shapes (lanes,) and (coordinates, lanes), float64. The true value is nearer to
    t + t_rest than to t: over millions of steps the sums do not lose digits.
    """

    t: Any
    q: Any
    v: Any
    t_rest: Any
    q_rest: Any
    v_rest: Any


class Path(NamedTuple):
    """A path that is being computed: where it is, and what it has written.

    `q` and `v` have shape (times, coordinates), and their first `written` rows are
    known. Not `healthy` is a path whose last step was not a number, or none.
    """

    state: State
    q: Any
    v: Any
    written: Any
    steps: Any
    healthy: Any


@dataclass(frozen=True)
class Taylor:
    """Taylor series of the motion about each step's start, evaluated anywhere in it.

    For smooth systems of scalar coordinates. Output times are read off the series,
    which is as accurate between the steps as at their ends.

    Args:
        order: of the series, at least 2; from the tolerance if None.
    """

    order: int | None = None

    def __post_init__(self) -> None:
        if self.order is None:
            return
        if not isinstance(self.order, int) or self.order < 2:
            raise LagrangianError(
                f"`order` is {self.order!r}; write a whole number from 2 on, or leave "
                "it out and pass `tol` to `integrate`."
            )

    def solve(
        self, flow: Any, q: Any, v: Any, times: np.ndarray, tol: float, max_steps: int
    ) -> Solution:
        order = self.order or order_for(tol)
        key = (self, order, len(times))
        if not hasattr(type(flow), "taylor_series"):
            raise LagrangianError(
                "`lg.Taylor` is for scalar coordinates. Leave `solver` out for blocks "
                "and fields, or pass one of diffrax."
            )
        if key not in flow.compiled:
            series = flow.taylor_series

            def segment(path: Path, times: Any, tol: Any, limit: Any) -> Path:
                return _segment(series, path, times, tol, order, limit)

            flow.compiled[key] = jax.jit(fused(segment))
        run, path = flow.compiled[key], _start(q, v, times)
        # tqdm's `disable=None` is silence where the output is no terminal.
        with tqdm(
            total=float(times[-1] - times[0]),
            delay=2,
            disable=None,
            bar_format="{percentage:3.0f}%|{bar}| t = {n:.4g} of {total:.4g} {elapsed}",
        ) as bar:
            while True:
                limit = min(int(path.steps) + _SEGMENT, max_steps)
                path = run(path, times, tol, limit)
                written, steps = int(path.written), int(path.steps)
                if written == len(times) or steps >= max_steps or not path.healthy:
                    break
                bar.update(float(path.state.t[0]) - times[0] - bar.n)
        complete = written == len(times) and bool(path.healthy)
        return reached(times, path.q, path.v, complete, steps)


def order_for(tol: float) -> int:
    """The order at which a step costs least for its length, at this tolerance."""
    return max(4, math.ceil(-math.log(tol) / 1.45 + 1))


def advance(
    series: TaylorSeries, state: State, end: Any, tol: Any, order: int
) -> tuple[State, Any, Any, Any]:
    """One step, no further than `end`; also its length and the series that it used."""
    q, v = series.coefficients(state.q, state.v, state.t, order)
    rest = (end - state.t) - state.t_rest
    most = jax.lax.stop_gradient(_step(q, v, tol, order))
    last = jnp.abs(rest) <= most
    step = jnp.where(last, rest, jnp.sign(rest) * most)
    t, t_rest = _sum(state.t, state.t_rest, step)
    # Exactly there, so that nobody has to ask how near is near enough.
    t, t_rest = jnp.where(last, end, t), jnp.where(last, 0.0, t_rest)
    new_q, q_rest = _sum(state.q, state.q_rest, increment(q, step, order))
    new_v, v_rest = _sum(state.v, state.v_rest, increment(v, step, order))
    return State(t, new_q, new_v, t_rest, q_rest, v_rest), step, q, v


def _step(q: Any, v: Any, tol: Any, order: int) -> Any:
    """Where the last two terms are a tenth of `tol`, relative to each state or to 1.

    Each coordinate with its velocity has a scale of its own, so that metres do not
    decide how accurate an angle is. A tenth, so that the terms behind them, and their
    sum over many steps in which they have the same sign, stay below it too.
    """

    def size(k: int) -> Any:
        return jnp.maximum(jnp.abs(q[k]), jnp.abs(v[k]))

    allowed = 0.1 * tol * jnp.maximum(size(0), 1.0)
    lengths = [smallest(allowed / size(k)) ** (1 / k) for k in (order - 1, order)]
    return jnp.minimum(*lengths)


def increment(series: Any, step: Any, order: int) -> Any:
    """The series at `step` without its constant term."""

    def horner(i: Any, total: Any) -> Any:
        term = jax.lax.dynamic_index_in_dim(series, order - i, 0, False)
        return (total + term) * step

    return jax.lax.fori_loop(0, order, horner, jnp.zeros_like(series[0]))


def _sum(value: Any, rest: Any, increment: Any) -> tuple[Any, Any]:
    """value + increment and its rounding error (Kahan, 1965)."""
    increment = increment + rest
    total = value + increment
    return total, increment - (total - value)


def _start(q: np.ndarray, v: np.ndarray, times: np.ndarray) -> Path:
    rows, n = len(times), len(q)
    missing = np.full((rows, n), np.nan)
    zero = np.zeros((n, 1))
    state = State(times[:1], q[:, None], v[:, None], np.zeros(1), zero, zero)
    first = np.arange(rows)[:, None] == 0
    outputs = (np.where(first, x, missing) for x in (q, v))
    return Path(state, *outputs, np.int64(1), np.int64(0), np.bool_(True))


def _segment(
    series: TaylorSeries, path: Path, times: Any, tol: Any, order: int, limit: Any
) -> Path:
    """The path with the steps up to number `limit`, or fewer at its end."""
    count = len(times)

    def unfinished(path: Path) -> Any:
        return (path.written < count) & (path.steps < limit) & path.healthy

    def body(path: Path) -> Path:
        state = path.state
        new, step, q, v = advance(series, state, times[-1:], tol, order)

        def within(carry: Any) -> Any:
            written, _, _ = carry
            time = times[jnp.minimum(written, count - 1)]
            return (written < count) & (time <= new.t[0])

        def write(carry: Any) -> Any:
            written, q_out, v_out = carry
            since = (times[written] - state.t) - state.t_rest
            q_at = q[0] + increment(q, since, order)
            v_at = v[0] + increment(v, since, order)
            q_out = q_out.at[written].set(q_at[:, 0])
            return written + 1, q_out, v_out.at[written].set(v_at[:, 0])

        written, q_out, v_out = jax.lax.while_loop(
            within, write, (path.written, path.q, path.v)
        )
        healthy = (step[0] > 0) & jnp.isfinite(new.q + new.v).all()
        return Path(new, q_out, v_out, written, path.steps + 1, healthy)

    return jax.lax.while_loop(unfinished, body, path)
