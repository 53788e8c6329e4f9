"""Inverses of momenta compared with the momenta themselves, in fifty digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

#: Decimal digits of the comparison; what counts as equal, and where there are floats.
DIGITS, EQUAL, EQUAL_FLOATS = 50, sp.Float("1e-30"), sp.Float("1e-10")

#: Sizes of the velocities in the random states; some may be too fast for a root.
SPEEDS = (1, sp.Rational(1, 3), sp.Rational(1, 9), sp.Rational(1, 60), 4)

#: Shares of a velocity at which the mass matrix must not have changed its sign.
_ON_THE_WAY = [sp.Rational(k, 6) for k in range(1, 7)]


def comes_back(
    function: Any,
    slopes: Mapping[Any, Any],
    momenta: Mapping[Any, Any],
    results: Sequence[Any],
) -> bool:
    """Whether velocities and energy come back from momenta in random states.

    In those from which rest is reached without a singular mass matrix on the way. Also
    true where there is no state to compare in.

    Args:
        function: L, and `slopes`, its derivatives dL/dv.
        momenta: the symbol of each velocity's momentum.
        results: the velocities, then <p, v> - L, as functions of the momenta.
    """
    whole = sp.Tuple(function, *slopes.values(), *results)
    matrix = sp.Matrix([[slopes[v].diff(w) for w in momenta] for v in momenta])
    tiny = EQUAL_FLOATS if whole.has(sp.Float) else EQUAL
    for state in _states(whole, momenta):
        values: list[Any] = [_number(e, state) for e in (function, *slopes.values())]
        if None in values or not _keeps_sign(matrix, list(momenta), state):
            continue
        energy = -values[0] + sum(
            p * state[v] for p, v in zip(values[1:], momenta, strict=True)
        )
        state_of_p = state | dict(zip(momenta.values(), values[1:], strict=True))
        for v in momenta:
            del state_of_p[v]
        expected = [*(state[v] for v in momenta), energy]
        for value, right in zip(results, expected, strict=True):
            number = _number(value, state_of_p)
            if number is None or abs(number - right) > tiny * (1 + abs(right)):
                return False
    return True


def _states(whole: Any, momenta: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    """Numbers for all symbols and undefined functions, velocities of several sizes."""
    known = {*momenta, *momenta.values()}
    opaque = whole.atoms(AppliedUndef, sp.Derivative, sp.Subs)
    others = sorted({*whole.free_symbols, *opaque} - known, key=sp.default_sort_key)
    for seed, size in enumerate(SPEEDS * 2):
        state = {s: _drawn(s, i, seed) for i, s in enumerate(others)}
        for i, v in enumerate(momenta):
            sign = (-1) ** ((seed + i * (seed // 2)) % 2)
            state[v] = sign * size * sp.Rational(3 + (5 * i + seed) % 7, 11)
        yield state


def _drawn(symbol: Any, i: int, seed: int) -> Any:
    """A number that the assumptions of the symbol allow."""
    number = sp.Rational(2 + (7 * i + 5 * seed) % 11, 3 + (5 * i + seed) % 7)
    if symbol.is_integer:
        number = sp.Integer(2 * (1 + (7 * i + 5 * seed) % 5) + bool(symbol.is_odd))
    if symbol.is_negative or (not symbol.is_nonnegative and (seed + i) % 3 == 2):
        return -number
    return number


def _number(expression: Any, state: Mapping[Any, Any]) -> Any | None:
    """A real value, if the expression has one there."""
    number = expression.xreplace(state).evalf(DIGITS)
    return number if number.is_Number and number.is_finite else None


def _keeps_sign(matrix: Any, speeds: Sequence[Any], state: Mapping[Any, Any]) -> bool:
    """Whether no determinant of the mass matrix changes its sign between rest and v."""
    minors = [matrix[:k, :k].det(method="berkowitz") for k in range(1, len(speeds) + 1)]
    signs = []
    for share in _ON_THE_WAY:
        there = dict(state) | {v: share * state[v] for v in speeds}
        values: list[Any] = [_number(m, there) for m in minors]
        if None in values:
            return False
        signs.append([value > 0 for value in values])
    return all(s == signs[0] for s in signs)
