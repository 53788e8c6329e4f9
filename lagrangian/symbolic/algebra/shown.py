"""Expressions as they are shown: whole where that is readable, cut where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import sympy as sp

#: Text of more characters than the first is cut to the second: two lines.
WHOLE, CUT = 240, 160
#: Expressions of more operations are not even written: a graph may be far smaller than
#: its tree, and text is the tree.
_MOST_WRITTEN = 4000
#: What a notebook still sets within a line or two.
_MOST_SET = 150
#: Longer lists are cut.
_MOST_ROWS, _MOST_NAMES = 7, 8


def operations(expression: Any) -> int:
    """How many operations an expression has when it is written out.

    Each distinct part is visited once, however often it stands there.

    >>> x = sp.Symbol("x")
    >>> operations(2*x + sp.sin(x)**2)
    4
    """
    expression = sp.sympify(expression)
    counts: dict[Any, int] = {}
    waiting = [expression]
    while waiting:
        part = waiting[-1]
        unknown = [a for a in part.args if a not in counts]
        if unknown and part not in counts:
            waiting += unknown
            continue
        waiting.pop()
        own = max(1, len(part.args) - 1) if part.args else 0
        counts[part] = own + sum(counts[a] for a in part.args)
    return counts[expression]


def shown(expression: Any) -> str:
    """An expression as text, cut at an operation where it would fill screens.

    >>> x = sp.Symbol("x")
    >>> shown(x**2/2), shown(sum(sp.cos(n*x) for n in range(1, 100)))[-20:]
    ('x**2/2', '... (295 operations)')
    """
    count = operations(expression)
    if count > _MOST_WRITTEN:
        return f"... ({count:,} operations)"
    text = sp.sstr(expression, full_prec=False)
    if len(text) <= WHOLE:
        return text
    end = text.rfind(" ", 0, CUT) + 1 or CUT
    return f"{text[:end]}... ({count:,} operations)"


def combination(coefficients: Mapping[str, Any]) -> str:
    """A sum of names with coefficients, without those that are zero.

    >>> k, l = sp.symbols("k l")
    >>> combination({"x''": 1, "x'": 0.0, "x": k + l})
    "x'' + (k + l)*x"
    """
    return _combined(coefficients, shown, "({})", "{}*{}")


def rows(parts: Mapping[str, Any]) -> list[str]:
    """Lines `name = expression`; the last says how many are left out."""
    lines = [f"  {name} = {shown(x)}" for name, x in islice(parts.items(), _MOST_ROWS)]
    left = len(parts) - len(lines)
    return [*lines, f"  ... and {left} more"] if left else lines


def few(items: Iterable[Any]) -> str:
    """Names or numbers in one line: all, or the first ones and the last."""
    listed = [str(item) for item in items]
    if len(listed) > _MOST_NAMES:
        listed = [*listed[: _MOST_NAMES - 2], "...", listed[-1]]
    return ", ".join(listed)


def shown_latex(expression: Any) -> str:
    """An expression in LaTeX; of a large one only how large it is.

    >>> shown_latex(sp.Symbol("x")**2)
    'x^{2}'
    """
    count = operations(expression)
    if count > _MOST_SET:
        return rf"\text{{({count:,} operations)}}"
    return sp.latex(expression)


def combination_latex(coefficients: Mapping[str, Any]) -> str:
    """The same in LaTeX, of names in LaTeX.

    >>> k, l = sp.symbols("k l")
    >>> combination_latex({r"\\ddot x": 1, r"\\dot x": 0.0, "x": k + l})
    '\\\\ddot x + \\\\left(k + l\\\\right)\\\\,x'
    """
    return _combined(coefficients, shown_latex, r"\left({}\right)", r"{}\,{}")


def _combined(
    coefficients: Mapping[str, Any],
    written: Callable[[Any], str],
    brackets: str,
    product: str,
) -> str:
    terms = []
    for name, coefficient in coefficients.items():
        coefficient = sp.sympify(coefficient)
        text = written(coefficient)
        if coefficient.is_Add:
            text = brackets.format(text)
        if not coefficient.is_zero:
            is_one = (coefficient - 1).is_zero
            terms.append(name if is_one else product.format(text, name))
    return " + ".join(terms) or "0"


def aligned(rows: list[str]) -> str:
    """Rows of LaTeX, with their `&`, as one display."""
    body = r" \\ ".join(rows)
    return rf"$\displaystyle \begin{{aligned}} {body} \end{{aligned}}$"
