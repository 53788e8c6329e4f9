"""Expressions from text, by a small grammar of our own: nothing is ever evaluated.

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = ("+" | "-")* power
    power   = atom (("^" | "**") signed)?
    atom    = number | name | function "(" sum ("," sum)* ")" | "(" sum ")"

A velocity is the name `q.dot`. Decimals are exact fractions, `0.1` being 1/10: so they
cancel exactly, `x^0.5` is a square root, and each is rounded once, when it is lowered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import sympy as sp

from lagrangian.errors import LagrangianError, nearest

#: Each function with the number of its arguments.
FUNCTIONS: dict[str, tuple[Any, int]] = {
    "sin": (sp.sin, 1),
    "cos": (sp.cos, 1),
    "tan": (sp.tan, 1),
    "cot": (sp.cot, 1),  # as SymPy writes tan(x + pi/2)
    "asin": (sp.asin, 1),
    "acos": (sp.acos, 1),
    "atan": (sp.atan, 1),
    "atan2": (sp.atan2, 2),
    "sinh": (sp.sinh, 1),
    "cosh": (sp.cosh, 1),
    "tanh": (sp.tanh, 1),
    "asinh": (sp.asinh, 1),
    "acosh": (sp.acosh, 1),
    "atanh": (sp.atanh, 1),
    "exp": (sp.exp, 1),
    "log": (sp.log, 1),
    "sqrt": (sp.sqrt, 1),
    "abs": (sp.Abs, 1),
    "Abs": (sp.Abs, 1),  # as SymPy prints it
}
CONSTANTS: dict[str, Any] = {"pi": sp.pi}

#: Longer, deeper or larger than anybody writes by hand. The time in which SymPy decides
#: the sign of functions inside of functions is exponential in their depth.
MAX_CHARACTERS, MAX_DEPTH, MAX_CALLS = 20_000, 50, 6
MAX_EXPONENT, MAX_BITS = 1000, 10_000

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<operator>\*\*|[-+*/^(),])"
    r"|(?P<end>\Z)",
    re.ASCII,
)
_SPACE = re.compile(r"[ \t\r\n]*")


class InvalidExpression(LagrangianError, ValueError):
    """A text that is no expression; `position` is where, counted from 0."""

    def __init__(self, message: str, text: str, position: int):
        row, column = text.count("\n", 0, position), _column(text, position)
        super().__init__(f"{message}\n{pointer(text.split(chr(10))[row], column)}")
        self.message, self.text, self.position = message, text, position


def _column(text: str, position: int) -> int:
    return position - (text.rfind("\n", 0, position) + 1)


def pointer(line: str, column: int) -> str:
    """A line of text, cut to a screen's width, with a caret under one column."""
    start = max(0, column - 60)
    shown = "".join(c if c.isprintable() else " " for c in line[start : start + 78])
    return f"  {shown.rstrip()}\n  {' ' * (column - start)}^"


class _Token(NamedTuple):
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"


def parse_expression(text: str, names: Mapping[str, Any], hint: str = "") -> Any:
    """The SymPy expression that `text` writes.

    Args:
        text: in the grammar above.
        names: what each name stands for, velocities (`q.dot`) included.
        hint: what to do about a name that is not among them.

    Raises:
        InvalidExpression: anything else; it shows the place.

    >>> m, v = sp.symbols("m v")
    >>> parse_expression("0.5*m*v^2", {"m": m, "v": v})
    m*v**2/2
    >>> parse_expression("m*w", {"m": m, "v": v})
    Traceback (most recent call last):
    lagrangian.systems.expression.InvalidExpression: unknown name `w`. Known: ...
      m*w
        ^
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidExpression(
            f"an expression of {len(text)} characters; at most {MAX_CHARACTERS} are "
            "read. Build it in Python.",
            text[:70],
            0,
        )
    return _Parser(text, {**CONSTANTS, **names}, hint).whole()


class _Parser:
    def __init__(self, text: str, names: Mapping[str, Any], hint: str):
        self.text, self.names, self.hint = text, names, hint
        self.depth = self.calls = 0
        self.next = self._scan(0)

    def _error(self, message: str, position: int) -> InvalidExpression:
        return InvalidExpression(message, self.text, position)

    def _scan(self, position: int) -> _Token:
        position = _SPACE.match(self.text, position).end()  # ty: ignore
        match = _TOKEN.match(self.text, position)
        if match is None:
            raise self._error(
                f"`{self.text[position]}` has no meaning in an expression. Use names "
                "of ASCII letters, numbers, + - * / ^ ( ) and functions.",
                position,
            )
        return _Token(match.lastgroup or "", match.group(), position)

    def _take(self, *operators: str) -> _Token | None:
        """The next token if it is one of these operators."""
        token = self.next
        if token.kind != "operator" or token.text not in operators:
            return None
        return self._advance()

    def _advance(self) -> _Token:
        token = self.next
        self.next = self._scan(token.position + len(token.text))
        return token

    def _enter(self, position: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(
                f"more than {MAX_DEPTH} levels of parentheses or powers. Multiply out, "
                "or build the expression in Python.",
                position,
            )

    def whole(self) -> Any:
        value = self.sum()
        if self.next.kind == "end":
            return value
        if self.next.text in (")", ","):
            raise self._error(
                f"{self.next} without a `(` before it.", self.next.position
            )
        raise self._error(
            f"no operator before {self.next}. Write `*` for a product.",
            self.next.position,
        )

    def sum(self) -> Any:
        start = self.next.position
        terms = [self.product()]
        while operator := self._take("+", "-"):
            term = self.product()
            terms.append(-term if operator.text == "-" else term)
        return self._sized(sp.Add(*terms), start)

    def product(self) -> Any:
        start = self.next.position
        # One product of all factors, signs included, as SymPy prints it: it would
        # distribute a sign over a sum that is multiplied by it alone.
        factors = self.signed()
        while operator := self._take("*", "/"):
            *sign, factor = self.signed()
            if operator.text == "/":
                factor = self._power(factor, sp.S.NegativeOne, operator.position)
            factors += [*sign, factor]
        return self._sized(sp.Mul(*factors), start)

    def signed(self) -> list[Any]:
        """The factors -1, if there is an odd number of minus signs, and the power."""
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign.text == "-"
        value = self.power()
        return [sp.S.NegativeOne, value] if negative else [value]

    def power(self) -> Any:
        base = self.atom()
        if not (operator := self._take("^", "**")):
            return base
        self._enter(operator.position)
        exponent = sp.Mul(*self.signed())
        self.depth -= 1
        return self._power(base, exponent, operator.position)

    def atom(self) -> Any:
        token = self._advance()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "name":
            return self._name(token)
        if token.text == "(":
            self._enter(token.position)
            value = self.sum()
            self._close(token)
            self.depth -= 1
            return value
        raise self._error(
            f"expected a number, a name or `(`, and got {token}.", token.position
        )

    def _close(self, opened: _Token) -> None:
        if not self._take(")"):
            raise self._error(
                f"expected `)` and got {self.next}; `(` was opened at column "
                f"{_column(self.text, opened.position) + 1} here.",
                self.next.position,
            )

    def _number(self, token: _Token) -> Any:
        number = Decimal(token.text) if len(token.text) <= 100 else None
        if number is None or abs(number.adjusted()) > 308:
            raise self._error(
                "a number outside of float64, or of more than 100 digits.",
                token.position,
            )
        exact = Fraction(number)
        return sp.Rational(exact.numerator, exact.denominator)

    def _name(self, token: _Token) -> Any:
        name = token.text
        called = self.next.text == "("
        if name in FUNCTIONS and called:
            return self._call(token)
        if name in FUNCTIONS:
            raise self._error(
                f"`{name}` is a function. Write `{name}(...)`.", token.position
            )
        if name in self.names:
            if called:
                raise self._error(
                    f"`{name}` is no function. For a product, write `{name}*(...)`.",
                    token.position,
                )
            return self.names[name]
        if called:
            raise self._error(
                f"unknown function `{name}`. {nearest(name, FUNCTIONS)}", token.position
            )
        advice = self.hint
        if name.endswith(".ddot"):
            advice = "Accelerations follow; write coordinates and velocities (`.dot`)."
        raise self._error(
            f"unknown name `{name}`. {nearest(name, self.names)} {advice}".rstrip(),
            token.position,
        )

    def _call(self, token: _Token) -> Any:
        opened = self._advance()
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise self._error(
                f"more than {MAX_CALLS} functions inside of one another. Build the "
                "expression in Python.",
                token.position,
            )
        arguments = [self.sum()]
        while self._take(","):
            arguments.append(self.sum())
        self._close(opened)
        self.calls -= 1
        function, count = FUNCTIONS[token.text]
        if len(arguments) != count:
            raise self._error(
                f"`{token.text}` takes {count} argument{'s' * (count > 1)}, and got "
                f"{len(arguments)}.",
                token.position,
            )
        if function is sp.exp:
            return self._power(sp.E, arguments[0], token.position)
        value = self._finite(function(*arguments), token.position)
        if value.is_number and value.is_extended_real is False:
            raise self._error("this is not real.", token.position)
        return value

    def _power(self, base: Any, exponent: Any, position: int) -> Any:
        # SymPy works out powers of numbers at once, exp(10^9*log(2)) included.
        if (exponent.is_Number and base != sp.E) or exponent.has(sp.log):
            size = max([abs(n) for n in exponent.atoms(sp.Rational)] or [0])
            if size > MAX_EXPONENT or size * _bits(base, exponent) > MAX_BITS:
                raise self._error("a power too large to be worked out.", position)
        return self._finite(base**exponent, position)

    def _finite(self, value: Any, position: int) -> Any:
        if value.has(sp.zoo, sp.nan, sp.oo, -sp.oo):
            raise self._error("this is not finite.", position)
        negative = [p for p in value.atoms(sp.Pow) if p.base.is_negative]
        if value.has(sp.I) or any(p.exp.is_integer is False for p in negative):
            raise self._error("this is not real.", position)
        return value

    def _sized(self, value: Any, position: int) -> Any:
        numbers = [term.as_coeff_Mul()[0] for term in sp.Add.make_args(value)]
        if _bits(*numbers) > MAX_BITS:
            raise self._error("this has a number of too many digits.", position)
        return value


def _bits(*expressions: Any) -> int:
    """The length of the longest whole number in these expressions."""
    numbers = set().union(*(e.atoms(sp.Rational) for e in expressions))
    return max((max(n.p.bit_length(), n.q.bit_length()) for n in numbers), default=0)
