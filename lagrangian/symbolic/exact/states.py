"""Random states at which an identity is put to the test, in fifty digits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from random import Random
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from lagrangian.symbolic.algebra.coordinates import Coordinate

#: Scales of the coordinates and patterns of signs, state by state: a root or logarithm
#: needs its domain, |x| both signs, x y mixed ones. Pattern 0 is positive, -k opposes
#: k, and the others are random.
NINTH, FIFTIETH = sp.Rational(1, 9), sp.Rational(1, 50)
SCALES = (
    *((1, 0), (1, 1), (1, -1), (1, 2)),
    *((7, 0), (7, -2), (7, 3)),
    *((NINTH, 0), (NINTH, -3), (NINTH, 4)),
    *((FIFTIETH, 5), (FIFTIETH, -5)),
)

#: Decimal digits of the evaluation at random states.
DIGITS = 50

#: What counts as zero in it; and where the user wrote floats, of sixteen digits.
TINY, TINY_FLOAT = sp.Float("1e-40"), sp.Float("1e-12")

#: What SymPy raises where an expression has no value.
NO_VALUE = (
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


def random_state(symbols: Iterable[Any], seed: int) -> dict[Any, Any]:
    """A number for each symbol, the same one whatever the others are."""
    return {s: _number(s, seed) for s in symbols}


@lru_cache(2**14)
def _number(symbol: Any, seed: int) -> Any:
    """A number that the assumptions of the symbol allow."""
    chance = Random(f"{seed} {symbol}")
    scale, pattern = SCALES[seed]
    if symbol.is_integer:
        # Even ones are even, odd ones are odd, and the others are both.
        odd = symbol.is_odd or (symbol.is_even is None and chance.random() < 0.5)
        number = sp.Integer(2 * chance.randint(1, 5) + bool(odd))
    else:
        number = sp.Rational(chance.randint(10, 99), 37)
        number *= scale if isinstance(symbol, Coordinate) else 1
    if symbol.is_nonpositive:
        number = -number
    elif not symbol.is_nonnegative and pattern:
        sign = Random(f"{symbol} {abs(pattern)}").choice([1, -1])
        number *= sign if pattern > 0 else -sign
    return sp.I * number if symbol.is_imaginary else number


def value(expression: Any, state: dict[Any, Any]) -> Any | None:
    """The expression in one state, if it is a finite number there."""
    try:
        number = expression.xreplace(state).evalf(DIGITS)
    except NO_VALUE:
        return None
    return number if number.is_number and number.is_finite else None


def tiny(*expressions: Any) -> Any:
    """What counts as zero where these are evaluated."""
    return TINY_FLOAT if any(e.has(sp.Float) for e in expressions) else TINY


def is_zero(expression: Any, state: dict[Any, Any], number: Any, least: Any) -> bool:
    """Whether its value in a state is zero to the digits that its terms have."""
    if abs(number) <= least:
        return True
    terms = sp.Add.make_args(expression)
    sizes = [abs(v) for v in (value(term, state) for term in terms) if v is not None]
    return bool(abs(number) <= least * max(sizes, default=0))


def concrete(expression: Any) -> Any:
    """With a function that has no special property in place of each undefined one.

    What holds for every function holds for this one.
    """
    expression = expression.replace(
        lambda e: isinstance(e, AppliedUndef), lambda e: _example(str(e.func), e.args)
    )
    return expression.doit() if expression.has(sp.Derivative, sp.Subs) else expression


def _example(name: str, places: Any) -> Any:
    chance = Random(name)
    form = sp.Add(*(sp.Rational(chance.randint(3, 9), 7) * p for p in places))
    return sp.cos(form + 1) + form**2 + sp.Mul(*places)
