"""Expressions as a straight-line listing, for people: shared parts are named once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter


def source(expressions: Mapping[str, Any], inputs: Iterable[Any]) -> str:
    """The expressions as assignments in pseudo-Python, inputs in a comment first.

    What occurs more than once, in one expression or in several, is named x0, x1, ... by
    `sympy.cse`, and comes before its use.

    >>> x, y = sp.symbols("x y")
    >>> print(source({"f": sp.sin(x + y) ** 2, "g": sp.sin(x + y) * y}, [x, y]))
    # inputs: x, y
    x0 = sin(x + y)
    f = x0**2
    g = x0*y
    """
    inputs = list(inputs)
    written = [sp.sympify(e) for e in expressions.values()]
    symbols: list[Any] = [*inputs, *sp.Tuple(*written).free_symbols]
    taken = {*map(sp.sstr, symbols), *(s.name for s in symbols), *expressions}
    names = (f"x{i}" for i in count())
    fresh = (sp.Symbol(name) for name in names if name not in taken)
    shared, outputs = sp.cse(written, fresh)
    lines = [*shared, *zip(expressions, outputs, strict=True)]
    text = StrPrinter().doprint
    given = ", ".join(map(text, inputs))
    return "\n".join([f"# inputs: {given}", *(f"{n} = {text(e)}" for n, e in lines)])
