"""Functions in terms of those that `Generators` knows, and floats as fractions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

#: Functions that are written by others.
REWRITTEN: dict[Any, Callable[[Any], Any]] = {
    sp.tan: lambda a: sp.sin(a) / sp.cos(a),
    sp.cot: lambda a: sp.cos(a) / sp.sin(a),
    sp.sec: lambda a: 1 / sp.cos(a),
    sp.csc: lambda a: 1 / sp.sin(a),
    sp.sinh: lambda a: (sp.exp(a) - sp.exp(-a)) / 2,
    sp.cosh: lambda a: (sp.exp(a) + sp.exp(-a)) / 2,
    sp.tanh: lambda a: 1 - 2 / (sp.exp(2 * a) + 1),
    sp.coth: lambda a: 1 + 2 / (sp.exp(2 * a) - 1),
    sp.sech: lambda a: 2 * sp.exp(a) / (sp.exp(2 * a) + 1),
    sp.csch: lambda a: 2 * sp.exp(a) / (sp.exp(2 * a) - 1),
    sp.sign: lambda a: a / sp.Abs(a),
}


def exact(expression: Any) -> Any:
    """Fractions for floats, and only functions that the ring knows where possible."""
    expression = sp.sympify(expression)
    if expression.has(sp.GoldenRatio, sp.TribonacciConstant):
        expression = expression.expand(func=True)
    if expression.has(sp.Float):
        expression = sp.nsimplify(expression, rational=True)
    for old, new in REWRITTEN.items():
        if expression.has(old):
            expression = expression.replace(old, new)
    return expression
