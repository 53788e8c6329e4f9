"""The check behind every exact answer: it is put back, whatever the algebra thought.

An answer is an identity: the total derivative of a boundary term is the rate, that of a
conserved charge is zero on shell. It is evaluated in fifty digits at random states with
both signs of everything that has two, and must be zero in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import mpmath as mp
import sympy as sp

from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time
from lagrangian.symbolic.exact.states import (
    NO_VALUE,
    SCALES,
    concrete,
    is_zero,
    random_state,
    tiny,
    value,
)

#: An identity has to be seen to hold in this many states.
FEWEST = 2

#: A path between two states is looked at in so many places for jumps.
PLACES = 48

#: Where a function jumps is left to others: its derivative is zero elsewhere.
WITHOUT_SPIKES = {"DiracDelta": lambda *_: 0}

#: A jump is at least so high, and the rate beside it at most: else it is a pole.
LEAST_JUMP, HIGHEST_RATE = mp.mpf("1e-8"), mp.mpf("1e8")


def is_boundary(candidate: Any, rate: Any) -> bool:
    """Whether `rate` is the total derivative of `candidate`, without a jump."""
    if not _is_total_derivative(candidate, rate):
        return False
    return candidate.is_polynomial() or not _jumps(candidate, rate)


def _is_total_derivative(candidate: Any, rate: Any) -> bool:
    try:
        difference = total_derivative(candidate) - rate
    except NO_VALUE:
        return False
    return vanishes_everywhere(difference, rate) is True


def vanishes_everywhere(difference: Any, reference: Any) -> bool | None:
    """Whether `difference` is zero at random states where `reference` is real.

    None where too few of them give it a value.
    """
    if difference == 0:
        return True
    difference, reference = concrete(difference), concrete(reference)
    symbols = difference.free_symbols | reference.free_symbols
    states = (random_state(symbols, seed) for seed in range(len(SCALES)))
    least = tiny(difference, reference)
    return holds(difference, least, states, lambda at: _is_real(reference, at))


class Slopes:
    """An energy and its slopes in numbers, to which the motions of symmetries are put.

    Many motions of one large energy are checked in the time that one of them takes.
    """

    def __init__(self, energy: Any):
        energy = concrete(energy)
        symbols = [*jets(energy), time]
        slopes = {s: variation(energy, {s: 1}) for s in symbols}
        self.least = tiny(energy)
        self.states = []
        for seed in range(len(SCALES)):
            state = random_state(energy.free_symbols | {time}, seed)
            numbers: dict[Any, Any] = {
                s: value(slope, state) for s, slope in slopes.items()
            }
            numbers[None] = value(energy, state)
            if all(x is not None for x in numbers.values()):
                self.states.append((seed, numbers))

    def vanish_along(self, motion: Mapping[Any, Any], stretch: Any = 0) -> bool:
        """Whether the energy, times what a motion stretches time by, stays the same."""
        directions = {s: sp.sympify(d) for s, d in (*motion.items(), (None, stretch))}
        symbols = sp.Tuple(*directions.values()).free_symbols
        seen = 0
        for seed, numbers in self.states:
            state = random_state(symbols, seed)
            terms: list[Any] = [
                numbers[s] * value(d, state)
                for s, d in directions.items()
                if s in numbers and d != 0
            ]
            change, size = sp.Add(*terms), max(map(abs, terms), default=0)
            if abs(change) > self.least * max(1, size):
                if change.is_extended_real:
                    return False
            else:
                seen += 1
        return seen >= FEWEST


def holds(
    difference: Any,
    least: Any,
    states: Iterable[dict[Any, Any]],
    counts: Callable[[dict[Any, Any]], bool],
) -> bool | None:
    """Whether it is zero in every state that counts; None where too few show."""
    seen = 0
    for state in states:
        number = value(difference, state)
        if number is None:
            continue
        if is_zero(difference, state, number, least):
            seen += 1
        elif counts(state):
            return False
    return True if seen >= FEWEST else None


def _is_real(expression: Any, state: dict[Any, Any]) -> bool:
    number = value(expression, state)
    return number is not None and bool(number.is_extended_real)


def _jumps(candidate: Any, rate: Any) -> bool:
    """Whether the candidate jumps, on a path between states, where the rate does not.

    As atan(tan(x)) does, whose derivative is 1, or pieces that are integrated one by
    one: a charge without its boundary term would jump there along the motion.
    """
    terms = (t for t in sp.Add.make_args(candidate) if not t.has(sp.Integral))
    candidate, rate = concrete(sp.Add(*terms)), concrete(rate)
    symbols = sorted(candidate.free_symbols | rate.free_symbols, key=str)
    places = [i for i, s in enumerate(symbols) if isinstance(s, Coordinate)]
    places += [i for i, s in enumerate(symbols) if s == time]
    with mp.workdps(30):
        try:
            both = sp.lambdify(symbols, [candidate, rate], [WITHOUT_SPIKES, "mpmath"])
        except NO_VALUE:
            return False
        for first, last in ((4, 5), (1, 2)):
            start, end = (
                [mp.mpmathify(x) for x in random_state(symbols, seed).values()]
                for seed in (first, last)
            )
            steps = [end[i] - start[i] if i in places else 0 for i in range(len(end))]
            if _jumps_between(_along(both, start, steps)):
                return True
    return False


def _along(both: Any, start: list[Any], steps: list[Any]) -> Callable[[Any], Any]:
    def at(s: Any) -> Any | None:
        try:
            pair = both(*(x + s * step for x, step in zip(start, steps, strict=True)))
        except (NameError, *NO_VALUE):
            return None
        real = all(mp.isfinite(x) and not mp.im(x) for x in pair)
        return [mp.re(x) for x in pair] if real else None

    return at


def _jumps_between(at: Callable[[Any], Any]) -> bool:
    """Whether the first of two functions on [0, 1] jumps and the second stays."""
    grid = [mp.mpf(k) / PLACES for k in range(PLACES + 1)]
    pairs = [at(s) for s in grid]
    heights = [abs(b[0] - a[0]) if a and b else None for a, b in pairwise(pairs)]
    for k, height in enumerate(heights):
        beside = [
            h for h in (*heights[max(k - 1, 0) : k], *heights[k + 1 : k + 2]) if h
        ]
        if height and height > 2 * min(beside, default=0):
            lower, upper = (grid[k], pairs[k]), (grid[k + 1], pairs[k + 1])
            if _jumps_inside(at, lower, upper):
                return True
    return False


def _jumps_inside(at: Callable[[Any], Any], lower: Any, upper: Any) -> bool:
    first = abs(upper[1][0] - lower[1][0])
    for step in range(60):
        middle = (lower[0] + upper[0]) / 2
        pair = at(middle)
        if pair is None:
            return False
        left, right = abs(pair[0] - lower[1][0]), abs(upper[1][0] - pair[0])
        if left > right:
            upper = middle, pair
        else:
            lower = middle, pair
        height = max(left, right)
        if height < LEAST_JUMP or (step == 8 and height < first / 50):
            return False
    return all(abs(pair[1]) < HIGHEST_RATE for _, pair in (lower, upper))
