"""Expressions as a straight-line listing, for people: shared parts are named once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter


def source(expressions: Mapping[str, Any], inputs: Iterable[Any]) -> str:
    """The expressions as assignments in pseudo-Python, inputs in a comment first.

    Every sum, product, power or function that occurs more than once, in one expression
    or in several, is named x0, x1, ... before its first use. These are the operations
    that `evaluate` performs, each once.

    >>> x, y = sp.symbols("x y")
    >>> print(source({"f": sp.sin(x + y) ** 2, "g": sp.sin(x + y) * y}, [x, y]))
    # inputs: x, y
    x0 = sin(x + y)
    f = x0**2
    g = y*x0
    """
    printer = _Listing()
    texts = [printer.doprint(symbol) for symbol in inputs]
    taken = {*texts, *expressions}
    outputs = {name: sp.sympify(e) for name, e in expressions.items()}
    uses = Counter(outputs.values())
    seen: set[Any] = set()
    for expression in outputs.values():
        for node in _arguments_first(expression, seen):
            uses.update(node.args)

    lines = ["# inputs: " + ", ".join(texts)]
    seen = set()
    number = 0
    for output, expression in outputs.items():
        for node in _arguments_first(expression, seen):
            if uses[node] < 2 or _is_simple(node):
                continue
            while f"x{number}" in taken:
                number += 1
            lines.append(f"x{number} = {printer.doprint(node)}")
            printer.names[node] = f"x{number}"
            number += 1
        lines.append(f"{output} = {printer.doprint(expression)}")
    return "\n".join(lines)


def _arguments_first(expression: Any, seen: set[Any]) -> Iterator[Any]:
    """The distinct nodes below and at `expression` that are not in `seen` yet."""
    pending = [(expression, False)]
    while pending:
        node, ready = pending.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            pending.append((node, True))
            pending += [(argument, False) for argument in reversed(node.args)]


def _is_simple(node: Any) -> bool:
    """What needs no name: symbols, numbers, a number times a symbol, conditions."""
    if not isinstance(node, sp.Expr) or not node.args or node.is_number:
        return True
    return node.as_coeff_Mul()[1].is_Symbol


class _Listing(StrPrinter):
    """SymPy's text, with the names of those nodes that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[Any, str] = {}

    def _print(self, expr: Any, **keywords: Any) -> str:
        return self.names.get(expr) or super()._print(expr, **keywords)

    def parenthesize(self, item: Any, level: int, strict: bool = False) -> str:
        return self.names.get(item) or super().parenthesize(item, level, strict)
