"""Power series in a small quantity, whose coefficients are found when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.blocks import EngineBlock, is_block
from lagrangian.symbolic.algebra.calculus import variation


class PowerSeries:
    """sum_n eta^n s_n, by the rule for s_n, which may ask for coefficients before it.

    A series may be defined by itself, as the unknown of an equation is:

    >>> geometric = PowerSeries(lambda n: 1 if n == 0 else geometric[n - 1] / sp.S(2))
    >>> [geometric[n] for n in range(4)]
    [1, 1/2, 1/4, 1/8]
    """

    def __init__(self, rule: Callable[[int], Any]):
        self._rule = rule
        self._known: dict[int, Any] = {}

    def __getitem__(self, n: int) -> Any:
        if n not in self._known:
            self._known[n] = self._rule(n)
        return self._known[n]

    def along(
        self, field: Mapping[Any, PowerSeries], written: Callable[[Any], Any]
    ) -> PowerSeries:
        """D s, the derivative along a vector field of series; see `shifted`."""

        def coefficient(n: int) -> Any:
            # What is zero does not ask for a field that may not be known yet.
            changes = (
                variation(self[n - i], {q: f[i] for q, f in field.items()})
                for i in range(n + 1)
                if self[n - i] != 0
            )
            return written(sp.Add(*changes))

        return PowerSeries(coefficient)

    def shifted(
        self,
        field: Mapping[Any, PowerSeries],
        weight: Callable[[int], Any],
        written: Callable[[Any], Any] = lambda e: e,
    ) -> PowerSeries:
        """sum_j weight(j) (eta D)^j s: with 1/j!, s a step later along the field.

        Args:
            field: the velocity of each symbol.
            weight: of each power.
            written: how each derivative is to be written, such as `sympy.expand`.
        """
        powers: list[PowerSeries] = [self]

        def coefficient(n: int) -> Any:
            while len(powers) <= n:
                powers.append(powers[-1].along(field, written))
            weights = ((j, weight(j)) for j in range(n + 1))
            return sp.Add(*(w * powers[j][n - j] for j, w in weights if w != 0))

        return PowerSeries(coefficient)


def constant(expression: Any) -> PowerSeries:
    """What does not depend on eta."""
    return PowerSeries(lambda n: sp.sympify(expression) if n == 0 else sp.S.Zero)


def expansion(
    expression: Any, eta: Any, inner: Mapping[Any, PowerSeries] | None = None
) -> PowerSeries:
    """The Taylor series of an expression in eta.

    Args:
        inner: series for some of its symbols.
    """
    # Each coefficient of an inner series has a symbol, until the derivative is taken.
    symbols: dict[Any, PowerSeries] = {
        a: PowerSeries(lambda k, a=a: _numbered(a, k)) for a in inner or {}
    }

    def derivative(n: int) -> Any:
        if n == 0:
            return sp.sympify(expression)
        motion = {eta: sp.S.One}
        for names in symbols.values():
            motion |= {names[k]: (k + 1) * names[k + 1] for k in range(n)}
        return variation(derivatives[n - 1], motion)

    derivatives = PowerSeries(derivative)

    def coefficient(n: int) -> Any:
        value = derivatives[n].subs(eta, 0) / sp.factorial(n)
        known = {
            names[k]: (inner or {})[a][k]
            for a, names in symbols.items()
            for k in range(n + 1)
            if value.has(names[k])
        }
        return value.xreplace(known)

    return PowerSeries(coefficient)


def _numbered(symbol: Any, k: int) -> Any:
    """The symbol of the k-th coefficient of what `symbol` stands for."""
    if k == 0:
        return symbol
    name = f"{symbol.name} {k}"
    return EngineBlock(name) if is_block(symbol) else sp.Dummy(name)
