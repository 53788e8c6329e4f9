"""Expressions from text, by a small grammar of our own: nothing is ever evaluated.

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = ("+" | "-")* power
    power   = atom (("^" | "**") signed)?
    atom    = number | name | function "(" sum ("," sum)* ")" | "(" sum ")"

A velocity is the name `q.dot`. Decimals are exact fractions, `0.1` being 1/10: so they
cancel exactly, `x^0.5` is a square root, and each is rounded once, when it is lowered.
Constants of more digits, or of more parts than a short sum of roots and functions of
fractions, are float64 (arithmetic.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, NamedTuple

from lagrangian.errors import LagrangianError, nearest
from lagrangian.systems.arithmetic import (
    FUNCTIONS,
    MINUS_ONE,
    PI,
    Refused,
    Value,
    add,
    call,
    multiply,
    power,
    rational,
)

CONSTANTS: dict[str, Value] = {"pi": PI}

#: Longer, deeper or larger than anybody writes by hand. The time in which SymPy decides
#: the sign of functions inside of functions is exponential in their depth.
MAX_CHARACTERS, MAX_DEPTH, MAX_CALLS = 20_000, 50, 6
#: The derivatives of a product of n factors have n^2.
MAX_FACTORS = 300

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

    def __reduce__(self) -> tuple[Any, ...]:  # an error comes back from a worker, too
        return type(self), (self.message, self.text, self.position)


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

    >>> from sympy import symbols
    >>> m, v = symbols("m v")
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
    known = CONSTANTS | {name: Value(symbol) for name, symbol in names.items()}
    return _Parser(text, known, hint).whole().expression


class _Parser:
    def __init__(self, text: str, names: Mapping[str, Value], hint: str):
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

    def _made(
        self, position: int, operation: Callable[..., Value], *operands: Any
    ) -> Value:
        """What an operation makes; an error at its position if it is refused."""
        try:
            return operation(*operands)
        except Refused as error:
            raise self._error(str(error), position) from None

    def whole(self) -> Value:
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

    def sum(self) -> Value:
        start = self.next.position
        terms = [self.product()]
        while operator := self._take("+", "-"):
            term = self.product()
            if operator.text == "-":
                term = self._made(operator.position, multiply, [MINUS_ONE, term])
            terms.append(term)
        return terms[0] if len(terms) == 1 else self._made(start, add, terms)

    def product(self) -> Value:
        start = self.next.position
        factors = self.signed()
        while operator := self._take("*", "/"):
            *sign, factor = self.signed()
            if operator.text == "/":
                factor = self._made(operator.position, power, factor, MINUS_ONE)
            factors += [*sign, factor]
        if len(factors) == 1:
            return factors[0]
        # Before it is made, which takes long, and of what factors are made of, too.
        bases = {f.expression.as_base_exp()[0] for f in factors if f.number is None}
        self._check_factors(len(bases), start)
        product = self._made(start, multiply, factors)
        if product.expression.is_Mul:
            varying = [f for f in product.expression.args if f.free_symbols]
            self._check_factors(len(varying), start)
        return product

    def _check_factors(self, count: int, start: int) -> None:
        if count > MAX_FACTORS:
            raise self._error(
                f"a product of {count} different factors; at most {MAX_FACTORS} are "
                "derived in reasonable time. Build the expression in Python.",
                start,
            )

    def signed(self) -> list[Value]:
        """The factors -1, if there is an odd number of minus signs, and the power."""
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign.text == "-"
        value = self.power()
        return [MINUS_ONE, value] if negative else [value]

    def power(self) -> Value:
        base = self.atom()
        if not (operator := self._take("^", "**")):
            return base
        self._enter(operator.position)
        exponent = self._made(operator.position, multiply, self.signed())
        self.depth -= 1
        return self._made(operator.position, power, base, exponent)

    def atom(self) -> Value:
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

    def _number(self, token: _Token) -> Value:
        try:
            number = Decimal(token.text) if len(token.text) <= 100 else None
        except InvalidOperation:  # an exponent beyond what a Decimal holds
            number = None
        if number is None or abs(number.adjusted()) > 307:
            raise self._error(
                "a number outside of float64, or of more than 100 digits.",
                token.position,
            )
        return self._made(token.position, rational, Fraction(number))

    def _name(self, token: _Token) -> Value:
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

    def _call(self, token: _Token) -> Value:
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
        count = FUNCTIONS[token.text][-1]
        if len(arguments) != count:
            raise self._error(
                f"`{token.text}` takes {count} argument{'s' * (count > 1)}, and got "
                f"{len(arguments)}.",
                token.position,
            )
        return self._made(token.position, call, token.text, arguments)
