"""What the operations of a text make: SymPy, kept away from what it cannot do quickly.

SymPy works numbers out as they are written down: a power may have 10^9 digits, and the
sign of a nested root, or of a tower of exponentials, may take for ever to find. So
every constant is computed here in float64 as well, which tells whether it is real and
finite, and what its sign is. It stays exact where it is simple (`_is_simple`); where it
is not, the float takes its place. SymPy is never asked about a number that is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import sympy as sp

#: Bits of the numerator and the denominator of an exact fraction.
MAX_BITS = 128
#: Of an exponent, and of the coefficient of a logarithm in one.
MAX_EXPONENT = 1000
#: Of an exact root: of its order and its power, and bits of what is under it.
_ROOT, _ROOT_BITS = 12, 32
#: Terms, and irrational factors of a term, in an exact constant.
_TERMS, _FACTORS = 4, 2


def _cot(x: float) -> float:
    return 1 / math.tan(x)


#: Each function in SymPy and in floats, with the number of its arguments.
FUNCTIONS: dict[str, tuple[Any, Callable[..., float], int]] = {
    "sin": (sp.sin, math.sin, 1),
    "cos": (sp.cos, math.cos, 1),
    "tan": (sp.tan, math.tan, 1),
    "cot": (sp.cot, _cot, 1),  # as SymPy writes tan(x + pi/2)
    "asin": (sp.asin, math.asin, 1),
    "acos": (sp.acos, math.acos, 1),
    "atan": (sp.atan, math.atan, 1),
    "atan2": (sp.atan2, math.atan2, 2),
    "sinh": (sp.sinh, math.sinh, 1),
    "cosh": (sp.cosh, math.cosh, 1),
    "tanh": (sp.tanh, math.tanh, 1),
    "asinh": (sp.asinh, math.asinh, 1),
    "acosh": (sp.acosh, math.acosh, 1),
    "atanh": (sp.atanh, math.atanh, 1),
    "exp": (sp.exp, math.exp, 1),
    "log": (sp.log, math.log, 1),
    "sqrt": (sp.sqrt, math.sqrt, 1),
    "abs": (sp.Abs, abs, 1),
    "Abs": (sp.Abs, abs, 1),  # as SymPy prints it
}


class Refused(Exception):
    """An operation that is not done; says why."""


class Value(NamedTuple):
    """An expression, and the float that it is if it is a constant."""

    expression: Any
    number: float | None = None


PI = Value(sp.pi, math.pi)
MINUS_ONE = Value(sp.S.NegativeOne, -1.0)


def rational(number: Fraction) -> Value:
    """The value of a fraction."""
    exact = sp.Rational(number.numerator, number.denominator)
    return _constant(lambda: float(number), lambda: exact, not number)


def add(terms: Sequence[Value]) -> Value:
    """The sum of all; constants are added up first, from left to right."""
    constant, varying = _parted(terms, add_two)
    if not varying:
        return constant
    return _varying(sp.Add(constant.expression, *varying))


def multiply(factors: Sequence[Value]) -> Value:
    """The product of all; constants are multiplied first, from left to right."""
    constant, varying = _parted(factors, multiply_two)
    if not varying:
        return constant
    # One product of all factors, signs included, as SymPy prints it: it would
    # distribute a sign over a sum that is multiplied by it alone.
    return _varying(sp.Mul(constant.expression, *varying))


def _parted(
    values: Sequence[Value], join: Callable[[Value, Value], Value]
) -> tuple[Value, list[Any]]:
    """The constants joined, and the other expressions."""
    constants = [v for v in values if v.number is not None]
    varying = [v.expression for v in values if v.number is None]
    neutral = sp.S.Zero if join is add_two else sp.S.One
    joined = Value(neutral, float(neutral))
    for value in constants:
        joined = join(joined, value)
    return joined, varying


def add_two(left: Value, right: Value) -> Value:
    """The sum of two constants."""
    return _constant(
        lambda: _float(left) + _float(right),
        lambda: left.expression + right.expression,
        may_vanish=True,
    )


def multiply_two(left: Value, right: Value) -> Value:
    """The product of two constants."""
    return _constant(
        lambda: _float(left) * _float(right),
        lambda: left.expression * right.expression,
        may_vanish=0 in (left.number, right.number),
    )


def power(base: Value, exponent: Value) -> Value:
    """The power of two values."""
    if base.number is not None and exponent.number is not None:
        return _constant(
            lambda: _real_power(_float(base), _float(exponent)),
            lambda: _exact_power(base.expression, exponent.expression),
            may_vanish=base.number == 0,
        )
    if exponent.number is not None:
        return _varying(base.expression ** _exponent(exponent))
    _check_logarithms(base.expression, exponent.expression)
    return _varying(base.expression**exponent.expression)


def call(name: str, arguments: Sequence[Value]) -> Value:
    """The value of a function of `FUNCTIONS`."""
    function, in_floats, _ = FUNCTIONS[name]
    if any(a.number is None for a in arguments):
        if name == "exp":
            return power(Value(sp.E, math.e), arguments[0])
        if name == "sqrt":
            return power(arguments[0], rational(Fraction(1, 2)))
        return _varying(function(*(a.expression for a in arguments)))
    if name in ("abs", "Abs"):
        value = arguments[0]
        return value if _float(value) >= 0 else multiply([MINUS_ONE, value])
    exact = [a.expression for a in arguments]
    return _constant(
        lambda: in_floats(*map(_float, arguments)),
        lambda: function(*exact) if all(map(_is_argument, exact)) else None,
        may_vanish=name not in ("exp", "cosh"),
    )


def _float(value: Value) -> float:
    assert value.number is not None
    return value.number


def _constant(
    in_floats: Callable[[], float], exact: Callable[[], Any], may_vanish: bool
) -> Value:
    """A constant, exact if it is simple.

    Args:
        in_floats: computes it.
        exact: writes it down, or None; not called unless the float is one.
        may_vanish: whether zero is not a number that is too small for a float.
    """
    try:
        number = in_floats()
    except OverflowError:
        number = math.inf
    except ZeroDivisionError:
        raise Refused("this is not finite.") from None
    except ValueError:  # math domain error: a pole, or a complex value
        raise Refused("this is not real, or not finite.") from None
    if not math.isfinite(number) or (number == 0 and not may_vanish):
        raise Refused("this is outside of float64: too large, or too small.")
    expression = exact()
    if expression is None or not _is_simple(expression):
        expression = sp.Float(number) if number else sp.S.Zero
    return Value(expression, number if expression != 0 else 0.0)


def _real_power(base: float, exponent: float) -> float:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    return math.pow(base, exponent)


def _exact_power(base: Any, exponent: Any) -> Any | None:
    """A power of constants where it is cheap; None elsewhere."""
    if not (_is_short(base) or _is_monomial(base)) or not _is_short(exponent):
        return sp.exp(exponent) if base == sp.E and _is_short(exponent) else None
    size = abs(exponent.p)
    if exponent.q == 1:
        cheap = _bits(base) * size <= 8 * MAX_BITS
    else:
        small = _bits(base) <= _ROOT_BITS and size <= _ROOT and exponent.q <= _ROOT
        cheap = small and base.is_Rational
    return base**exponent if cheap else None


def _is_short(expression: Any) -> bool:
    """Whether this is an exact fraction of few digits."""
    return bool(expression.is_Rational) and _bits(expression) <= MAX_BITS


def _is_monomial(expression: Any) -> bool:
    """Whether this is one term of roots, pi and a fraction."""
    return all(
        _is_short(f) or f == sp.pi or (f.is_Pow and _is_simple_power(f))
        for f in sp.Mul.make_args(expression)
    )


def _is_argument(expression: Any) -> bool:
    """Whether SymPy evaluates functions of this by looking it up."""
    rest = [f for f in sp.Mul.make_args(expression) if not f.is_Rational]
    small = all(_bits(f) <= _ROOT_BITS for f in sp.Mul.make_args(expression))
    return small and len(rest) < 2 and _is_monomial(expression)


def _is_simple_power(expression: Any) -> bool:
    base, exponent = expression.args
    if not (exponent.is_Rational and exponent.q <= _ROOT and _bits(exponent) < 10):
        return False
    return base in (sp.pi, sp.E) or (base.is_Rational and _bits(base) <= MAX_BITS)


def _is_simple(expression: Any) -> bool:
    """Whether a constant may stay exact: a short sum of short products.

    Their factors are fractions, pi, roots of fractions, and functions of fractions and
    multiples of pi. Floats are not exact.
    """
    terms = sp.Add.make_args(expression)
    if len(terms) > _TERMS:
        return False
    for term in terms:
        factors = sp.Mul.make_args(term)
        if sum(not f.is_Rational for f in factors) > _FACTORS:
            return False
        if not all(map(_is_simple_factor, factors)):
            return False
    return True


def _is_simple_factor(factor: Any) -> bool:
    if factor.is_Pow:
        return _is_simple_power(factor)
    if factor.is_Function:
        return all(map(_is_argument, factor.args))
    return factor == sp.pi or factor == sp.E or _is_short(factor)


def _exponent(value: Value) -> Any:
    """A constant as the exponent of what varies: a small fraction, or a float."""
    number = _float(value)
    if abs(number) > MAX_EXPONENT:
        raise Refused(f"a power above {MAX_EXPONENT}, too large to be worked out.")
    exact = value.expression
    if exact.is_Integer or (exact.is_Rational and exact.q <= _ROOT):
        return exact
    return sp.Float(number)


def _check_logarithms(base: Any, exponent: Any) -> None:
    """Raise where SymPy would make a large power of exp(n*log(x))."""
    if not exponent.has(sp.log):
        return
    numbers = [n for e in (base, exponent) for n in e.atoms(sp.Number)]
    if any(abs(n) > MAX_EXPONENT for n in numbers if n.is_finite):
        raise Refused("a power too large to be worked out.")


def _varying(expression: Any) -> Value:
    """An expression of what varies, whose numbers are short; or what it vanished to."""
    if expression.has(sp.zoo, sp.nan, sp.oo, -sp.oo):
        raise Refused("this is not finite.")
    negative = [p for p in expression.atoms(sp.Pow) if p.base.is_Number and p.base < 0]
    if expression.has(sp.I) or any(p.exp.is_integer is False for p in negative):
        raise Refused("this is not real.")
    long = {n for n in expression.atoms(sp.Rational) if _bits(n) > MAX_BITS}
    try:
        expression = expression.xreplace({n: sp.Float(float(n)) for n in long})
    except OverflowError:
        raise Refused("this has a number outside of float64.") from None
    if expression.is_Number:  # x - x
        return Value(expression, float(expression))
    if not expression.free_symbols:
        number = float(expression.evalf(16))
        return _constant(lambda: number, lambda: expression, may_vanish=True)
    return Value(expression)


def _bits(expression: Any) -> int:
    """The length of the longest whole number in an expression."""
    numbers = expression.atoms(sp.Rational)
    return max((max(n.p.bit_length(), n.q.bit_length()) for n in numbers), default=0)
