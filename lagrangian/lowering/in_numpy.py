"""Scalars in NumPy, for what is looked at a few times and not worth compiling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import add, mul
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.lowering.functions import number

#: Elementwise, for real arguments.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{sp.sin: np.sin, sp.cos: np.cos, sp.tan: np.tan},
    **{sp.asin: np.arcsin, sp.acos: np.arccos, sp.atan: np.arctan},
    **{sp.sinh: np.sinh, sp.cosh: np.cosh, sp.tanh: np.tanh},
    **{sp.asinh: np.arcsinh, sp.acosh: np.arccosh, sp.atanh: np.arctanh},
    **{sp.exp: np.exp, sp.log: np.log, sp.Abs: np.abs, sp.sign: np.sign},
    sp.atan2: np.arctan2,
}


class NotInNumpy(Exception):
    """An expression of which something has no counterpart here."""


class InNumpy:
    """Scalar expressions as a list of operations, equal subexpressions once.

    Args:
        expressions: to evaluate, in float64.
        inputs: the symbols that will have values.

    Raises:
        NotInNumpy: anything else than these, numbers, and elementary functions.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> [float(value) for value in InNumpy([x**2 / 4, x**2], [x])({x: np.float64(3)})]
    [2.25, 9.0]
    """

    def __init__(self, expressions: Sequence[Any], inputs: Iterable[Any]):
        self._inputs = list(inputs)
        self._rows = {symbol: row for row, symbol in enumerate(self._inputs)}
        self._operations: list[tuple[Callable[..., Any], tuple[int, ...]]] = []
        self._outputs = [self._row(sp.sympify(e)) for e in expressions]

    def __call__(self, values: Mapping[Any, Any]) -> list[Any]:
        """Their values for those of the inputs, whose shapes broadcast."""
        known = [values[symbol] for symbol in self._inputs]
        for function, rows in self._operations:
            known.append(function(*[known[row] for row in rows]))
        return [known[row] for row in self._outputs]

    def _row(self, node: Any) -> int:
        if node not in self._rows:
            operation = self._operation(node)  # appends those of the arguments
            self._rows[node] = len(self._inputs) + len(self._operations)
            self._operations.append(operation)
        return self._rows[node]

    def _operation(self, node: Any) -> tuple[Callable[..., Any], tuple[int, ...]]:
        composed = node.is_Add or node.is_Mul
        if node.is_number and node.is_extended_real and not composed:
            value = np.float64(number(node, np.float64))
            return (lambda: value), ()
        rows = tuple(map(self._row, node.args))
        if composed:
            return partial(_reduced, add if node.is_Add else mul), rows
        if node.is_Pow:
            exponent = node.exp
            if exponent == sp.S.Half:
                return np.sqrt, rows[:1]
            if exponent.is_Integer:
                whole = int(exponent)
                return (lambda base: base**whole), rows[:1]
            return np.power, rows
        if type(node) in _FUNCTIONS:
            return _FUNCTIONS[type(node)], rows
        raise NotInNumpy(node)


def _reduced(operator: Callable[[Any, Any], Any], *arguments: Any) -> Any:
    return reduce(operator, arguments)
