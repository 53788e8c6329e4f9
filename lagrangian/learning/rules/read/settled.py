"""An update at a constant gradient, and on the way there from the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.read.linear import coefficients, fading, ratio
from lagrangian.learning.rules.read.part import Part, State, count, g, q

#: Steps that are followed from the start, at most.
_LONGEST = 200_000


def filled(expression: Any) -> Any:
    """With averages full: beta^k is zero for every number beta below one."""

    return expression.replace(
        lambda node: fading(node) is not None, lambda node: sp.S.Zero
    )


def share_and_source(state: State) -> tuple[Any, Any] | None:
    """(share, source) of s' = share s + source; None if it is no such thing."""
    update = filled(state.update)
    if state.before not in update.free_symbols:
        return sp.S.Zero, update
    source = update.xreplace({state.before: sp.S.Zero})
    change = coefficients(sp.expand(update - source), [state.before])
    if not change:
        return None
    return change[state.before], source


def averages(part: Part) -> dict[Any, tuple[Any, Any]]:
    """(share, source) of each average s' = share s + (1 - share) source, by s'.

    The sources are in g, q and other averages.
    """
    found = {}
    for state in part.states:
        told = share_and_source(state)
        if told is None or not told[0].is_number or not 0 <= told[0] < 1:
            continue
        share, source = told
        found[state.after] = share, sp.expand(source / (1 - share))
    return found


def caught_up(part: Part, expression: Any) -> Any | None:
    """An expression once its averages have met nothing but one gradient.

    None if something in it never settles.
    """
    known: dict[Any, Any] = {}
    left = list(part.states)
    while left:
        for state in left:
            told = share_and_source(state)
            if told is None or told[0] == 1:
                continue
            share, source = told
            value = ratio(source.xreplace(known), 1 - share)
            if value.free_symbols <= {g, q}:
                break
        else:
            break
        known |= {state.before: value, state.after: value}
        left.remove(state)
    settled = filled(expression.xreplace(known))
    return settled if settled.free_symbols <= {g, q} else None


def longer(part: Part, move: Any) -> float:
    """By how many steps' moves a run is ahead, once its averages are full.

    Averages that start at zero, and are not made up for, make the first steps longer,
    or shorter: the moves under a constant gradient, less what they settle to.
    """
    shares = [float(s) for s, _ in averages(part).values()]
    last = min(_LONGEST, math.ceil(40 / (1 - max(shares, default=0.0))))
    values: dict[Any, Any] = {g: np.float64(1.0), q: np.float64(0.0)}
    values |= {s.before: np.float64(s.start.xreplace({q: 0})) for s in part.states}
    order = _in_order(part)
    symbols = [count, g, q, *(v for s in order for v in (s.before, s.after))]
    rules = [sp.lambdify(symbols, s.update, "numpy") for s in order]
    moved = sp.lambdify(symbols, move, "numpy")
    moves = np.empty(last)
    for k in range(last):
        values[count] = np.float64(k)
        for state, rule in zip(order, rules, strict=True):
            values[state.after] = rule(*(values.get(s, 0.0) for s in symbols))
        moves[k] = moved(*(values[s] for s in symbols))
        for state in order:
            values[state.before] = values[state.after]
    found = float(np.sum(moves / moves[-1] - 1))
    return found if abs(found) > 1e-6 else 0.0


def _in_order(part: Part) -> list[State]:
    """The states, each after those of which it has the new value."""
    order: list[State] = []
    left = list(part.states)
    while left:
        after = {s.after for s in left}
        ready = [s for s in left if not (s.update.free_symbols & (after - {s.after}))]
        order += ready or left
        left = [s for s in left if s not in order]
    return order
