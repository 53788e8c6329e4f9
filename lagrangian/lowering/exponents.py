"""Exponents as exact numbers, wherever their parameters have values.

SymPy writes the derivative of x**n as n*x**n/x, which is 0/0 at x = 0, and x**4.0 is a
logarithm there. With 4 in their place both are products, and 5/2 is a square root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from jax.core import Tracer

from lagrangian.errors import CannotLower
from lagrangian.symbolic.laws.noether import Law
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: Denominators up to here are taken for what was meant: 0.1 is 1/10.
_DENOMINATORS = 1000


class Exponents:
    """The exponents of some expressions, and the numbers to put in their place.

    Args:
        expressions: what was written.
        parameters: values by symbol; traced ones have no number, and stay symbols.

    Attributes:
        symbols: the parameters that exponents are made of, traced ones included.
        numbers: those of them that get a number, and that number.
    """

    def __init__(self, expressions: Iterable[Any], parameters: Mapping[Any, Any]):
        powers = [p for e in expressions for p in e.atoms(sp.Pow)]
        known, plain = set(parameters), set(filter(_is_plain(parameters), parameters))
        made = [p.exp.free_symbols for p in powers if p.base.free_symbols - known]
        self.symbols: set[Any] = set().union(*(s for s in made if s <= known))
        chosen = set().union(*(s for s in made if s <= plain))
        self.numbers = {s: exact(float(parameters[s])) for s in chosen}
        self._any_floats = any(p.exp.has(sp.Float) for p in powers)

    @cached_property
    def idle(self) -> bool:
        """Whether there is nothing to replace."""
        return not (self.numbers or self._any_floats)

    def expression(self, written: Any) -> Any:
        """An expression with numbers for exponents."""
        written = sp.sympify(written)
        if self.idle:
            return written
        return written.xreplace(self.numbers).replace(
            lambda e: e.is_Pow and e.exp.is_Float,
            lambda e: e.base ** exact(float(e.exp)),
        )

    def lagrangian(self, written: Lagrangian) -> Lagrangian:
        """A Lagrangian with numbers for exponents: derived anew, without divisions.

        Raises:
            CannotLower: the numbers make it infinite, as x**n/n is for n = 0.
        """
        if self.idle:
            return written
        filled = Lagrangian(
            self.expression(written.T),
            self.expression(written.V),
            damping=self.expression(written.damping),
            forces={q: self.expression(Q) for q, Q in written.forces.items()},
            dissipation=self.expression(written.dissipation),
            constraints=[self.expression(c) for c in written.constraints.expressions],
            coordinates=written.coordinates,
        )
        if any(part.has(sp.zoo, sp.oo, sp.nan) for part in parts(filled)):
            given = ", ".join(f"`{s}` = {x}" for s, x in self.numbers.items())
            raise CannotLower(
                f"the Lagrangian is not finite for {given}: {filled}. Pass other "
                "values."
            )
        return filled

    def law(self, written: Law) -> Law:
        """A law with numbers for exponents."""
        if self.idle:
            return written

        def filled(terms: Mapping[Any, Any]) -> dict[Any, Any]:
            return {name: self.expression(term) for name, term in terms.items()}

        return replace(
            written,
            theory=self.lagrangian(written.lagrangian),
            components=filled(written.components),
            changes=filled(written.changes),
        )


def parts(lagrangian: Lagrangian) -> list[Any]:
    """The expressions that a Lagrangian was written with."""
    return [
        *(lagrangian.T, lagrangian.V, lagrangian.damping, lagrangian.dissipation),
        *lagrangian.forces.values(),
        *lagrangian.constraints.expressions,
    ]


def exact(number: float) -> Any:
    """The fraction that rounds to this number, if there is a short one."""
    if not np.isfinite(number):
        return sp.Float(number)
    near = Fraction(number).limit_denominator(_DENOMINATORS)
    if float(near) == number:
        return sp.Rational(near.numerator, near.denominator)
    return sp.Float(number, 17)


def _is_plain(parameters: Mapping[Any, Any]) -> Any:
    def is_plain(symbol: Any) -> bool:
        value = parameters[symbol]
        if isinstance(value, Tracer) or callable(value):
            return False
        return np.ndim(value) == 0

    return is_plain
