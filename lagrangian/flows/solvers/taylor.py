"""Integration by Taylor series of high order, with order and step from the tolerance.

After Jorba & Zou, "A software package for the numerical integration of ODEs by means
of high-order Taylor methods" (2005): the order grows with the logarithm of the
tolerance. The steps are those of `taylor_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from tqdm import tqdm

from lagrangian.errors import LagrangianError
from lagrangian.flows.arguments import Array
from lagrangian.flows.solvers.dormand_prince import DormandPrince
from lagrangian.flows.solvers.solver import (
    NOT_FINITE,
    OUT_OF_STEPS,
    Demands,
    Solution,
    reached,
)
from lagrangian.flows.solvers.taylor_native import native_steps
from lagrangian.flows.solvers.taylor_step import (
    STRETCH,
    Limits,
    State,
    advance,
    increment,
    limits_for,
    order_for,
    start,
)
from lagrangian.flows.structure import run
from lagrangian.lowering.kernels.fused import either, fused
from lagrangian.lowering.taylor import TaylorSeries

#: So many steps, a second or so, run between two looks at the clock and the keyboard.
_SEGMENT = 200_000
#: Numbers in a vector register, and the most rows of a state that need be whole ones.
_REGISTER, _FEW_ROWS = 4, 16


class Progress(NamedTuple):
    """A path that is being computed: where it is, and what it has written.

    `y` has shape (times, 2 coordinates + integrals). Its first `written` rows are
    filled, and the first `known` of them confirmed. Not `healthy` is a path that found
    no next step.
    """

    state: State
    y: Any
    written: Any
    known: Any
    steps: Any
    healthy: Any


#: What goes on with a path of a flow until a number of steps.
GoOn = Callable[[Any, Progress, np.ndarray, Limits, int], Progress]


@dataclass(frozen=True)
class Taylor:
    """Taylor series of the motion about each step's start, evaluated anywhere in it.

    For smooth systems of scalar coordinates. Output times are read off the series,
    which is as accurate between the steps as at their ends. Where the motion is not
    smooth for a moment, as under a force |v|^(3/2) at rest, steps of Dormand and
    Prince's method lead over it.

    Args:
        order: of the series, at least 4; from the tolerance if None.

    Raises:
        LagrangianError: an order below 4; from `integrate`, a system of blocks or
            fields.
        CannotLower: from `integrate`, a function without a Taylor recurrence.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> flow = lg.lower(spring, {})
    >>> solver = lg.Taylor(order=20)
    >>> path = flow.integrate([1.0], [0.0], (0, 100), tol=1e-13, solver=solver)
    >>> path.energy_drift < 1e-12
    True
    """

    order: int | None = None
    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.order is None:
            return
        if not isinstance(self.order, int) or self.order < 4:
            raise LagrangianError(
                f"`order` is {self.order!r}; write a whole number from 4 on, or leave "
                "it out and pass `tol` to `integrate`."
            )

    def solve(
        self, flow: Any, q: Array, v: Array, times: np.ndarray, demands: Demands
    ) -> Solution:
        if not hasattr(type(flow), "series"):
            raise LagrangianError(
                "`lg.Taylor` is for scalar coordinates. Leave `solver` out for blocks "
                "and fields, or pass one of diffrax."
            )
        n, span, wanted = len(q), float(times[-1] - times[0]), len(demands.rates)
        order = self.order or order_for(demands.tol)
        native = native_steps(flow, order, demands.rates)
        if native is None:
            demands = demands._replace(rates=_filled(demands.rates, 2 * n))
        rates = demands.rates
        rows = np.full((len(times), 2 * n + len(rates)), np.nan)
        rows[0, :n], rows[0, n : 2 * n], rows[0, 2 * n :] = q, v, 0.0
        floor = np.asarray(demands.atol, float)[:, None]
        limits = limits_for(demands.tol, n, span)
        limits = limits._replace(floor=floor, longest=demands.max_step)
        until = min(_SEGMENT, demands.max_steps)
        if native is None:
            go_on: GoOn = partial(run, _going_on, (order, rates))
            path = run(_beginning, (order, rates), flow, rows, times, limits, until)
        else:
            go_on = native
            path = native(flow, _begun(rows, times, n), times, limits, until)
        stopped = ""
        # Most paths are done by now: making the bar takes as long as a hundred steps.
        if int(np.asarray(path.known)) < len(times):
            path, stopped = _rest(flow, path, times, go_on, limits, demands)
        # As NumPy's: JAX's arrays are slow to look into.
        known, steps = (int(np.asarray(x)) for x in (path.known, path.steps))
        y = np.asarray(path.y)[:known]
        q, v, integrals = y[:, :n], y[:, n : 2 * n], y[:, 2 * n : 2 * n + wanted]
        return reached(times[:known], q, v, integrals, steps, stopped)


def _rest(
    flow: Any,
    path: Progress,
    times: np.ndarray,
    go_on: GoOn,
    limits: Limits,
    demands: Demands,
) -> tuple[Progress, str]:
    """The path from its first segment to its end, or to where it stops, and why."""
    span = float(times[-1] - times[0])
    began, stretch, stopped = float(times[0]), span * STRETCH, ""
    # tqdm's `disable=None` is silence where the output is no terminal.
    with tqdm(
        total=span,
        delay=2,
        disable=None,
        bar_format="{percentage:3.0f}%|{bar}| t = {n:.4g} of {total:.4g} {elapsed}",
    ) as bar:
        while True:
            # As NumPy's: JAX's arrays are slow to look into.
            path = jax.tree.map(np.asarray, path)
            if not path.healthy and path.known < len(times):
                moved = float(path.state.now.t[0]) - began
                stretch = stretch * 2 if moved < stretch else span * STRETCH
                path, stopped = _over_kink(flow, path, times, stretch, demands)
            if path.known == len(times):
                return path, stopped
            if path.steps >= demands.max_steps:
                stopped = stopped or OUT_OF_STEPS
            if stopped:
                return path, stopped
            began = float(path.state.now.t[0])
            bar.update(began - times[0] - bar.n)
            until = min(int(path.steps) + _SEGMENT, demands.max_steps)
            path = go_on(flow, path, times, limits, until)


def _filled(rates: tuple[Any, ...], others: int) -> tuple[Any, ...]:
    """With zeros behind them, until all rows of a small state fill vector registers.

    A row that does not costs several times what it should.
    """
    rows = others + len(rates)
    if not rates or rows > _FEW_ROWS:
        return rates
    return (*rates, *[sp.S.Zero] * (-rows % _REGISTER))


def _going_on(flow: Any, order: int, rates: tuple[Any, ...]) -> Any:
    """What goes on with a path until a number of steps."""
    series = flow.series(rates)

    @fused
    def go_on(path: Progress, times: Any, limits: Limits, until: Any) -> Progress:
        return _segment(series, path, times, limits, order, until)

    return go_on


def _beginning(flow: Any, order: int, rates: tuple[Any, ...]) -> Any:
    """What begins a path, whose outputs are `rows`: the start, and nan."""
    series, n = flow.series(rates), len(flow.lagrangian.coordinates)

    @fused
    def begin(rows: Any, times: Any, limits: Limits, until: Any) -> Progress:
        path = jax.tree.map(jnp.asarray, _begun(rows, times, n))
        return _segment(series, path, times, limits, order, until)

    return begin


def _begun(rows: Any, times: Any, n: int) -> Progress:
    first = start(rows[0][:, None], times[:1], times[-1:], n)
    one, none = np.int64(1), np.int64(0)
    return Progress(first, rows, one, one, none, np.bool_(True))


def _over_kink(
    flow: Any, path: Progress, times: np.ndarray, stretch: float, demands: Demands
) -> tuple[Progress, str]:
    """The path a stretch further, where the motion has no series; or why not."""
    now, known = path.state.now, int(path.known)
    n = path.state.predicted.shape[0]
    t = float(now.t[0])
    end = min(t + stretch, float(times[-1]))
    # The end of the time is an output time, not a rounding error away from one.
    inside = times[known:][times[known:] <= end]
    stops = np.unique([t, *inside, end])
    if len(stops) < 2:
        return path, NOT_FINITE
    y = np.asarray(now.y)[:, 0]
    left = demands._replace(max_steps=demands.max_steps - int(path.steps))
    found = DormandPrince().solve_from(flow, y, stops, left)
    rows = np.array(path.y)
    states = np.concatenate([found.q, found.v, found.integrals], axis=1)
    for time, row in zip(found.t, states, strict=True):
        place = np.searchsorted(times, time)
        if place < len(times) and times[place] == time:
            rows[place], known = row, max(known, place + 1)
    arrived = start(states[-1][:, None], found.t[-1:], times[-1:], n)
    arrived = arrived._replace(most=np.full(1, stretch))
    steps = path.steps + found.steps
    return (
        Progress(
            arrived, rows, np.int64(known), np.int64(known), steps, np.bool_(True)
        ),
        found.stopped,
    )


def _segment(
    series: TaylorSeries,
    path: Progress,
    times: Any,
    limits: Limits,
    order: int,
    until: Any,
) -> Progress:
    """The path with the steps up to number `until`, or fewer at its end."""
    count, n = len(times), series.count

    def unfinished(path: Progress) -> Any:
        return (path.known < count) & (path.steps < until) & path.healthy

    def body(path: Progress) -> Progress:
        step = advance(series, path.state, times[-1:], limits, order)
        good, begun = step.confirmed[0], step.start
        known = either(good, path.written, path.known)

        def within(carry: Any) -> Any:
            written, _ = carry
            time = times[jnp.minimum(written, count - 1)]
            return (written < count) & (time <= step.state.now.t[0]) & good

        def write(carry: Any) -> Any:
            written, y_out = carry
            since = (times[written] - begun.t) - begun.t_rest
            change, _ = increment(step.terms, since / step.unit, order, n)
            y = step.terms[0] + change
            if series.settle is not None:
                y = series.settle(y, times[written][None])
            return written + 1, y_out.at[written].set(y[:, 0])

        written, y_out = jax.lax.while_loop(within, write, (known, path.y))
        return Progress(
            step.state, y_out, written, known, path.steps + 1, step.healthy[0]
        )

    return jax.lax.while_loop(unfinished, body, path)
