"""Lagrangians with second and higher derivatives, after Ostrogradsky."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.calculus import gradient, total_derivative
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import jets, time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.inputs import check_lookalikes, written
from lagrangian.symbolic.algebra.shown import shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.equations import reduced, solved


class HigherOrderLagrangian(AtPrompt, ByContent):
    """L(q, qdot, qddot, ..., t) of scalar coordinates, of any order.

    With the momenta of Ostrogradsky, "Memoires sur les equations differentielles
    relatives au probleme des isoperimetres" (1850).

    Args:
        expression: L, in coordinates and their derivatives `x.ddot.dot`, and `lg.time`.

    Raises:
        InvalidLagrangian: no coordinate, one of which L contains no derivative, text,
            or a symbol that has the name of a coordinate or of time and is not it.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> beam = lg.HigherOrderLagrangian(x.ddot**2 / 2)
    >>> beam.equations, beam.energy
    ([Eq(-x.ddot.dot.dot, 0)], -x.dot*x.ddot.dot + x.ddot**2/2)
    """

    def __init__(self, expression: Expression):
        self.expression = written(expression, "expression")
        self.orders: dict[Any, int] = {}
        for jet in jets(self.expression):
            self.orders[jet.base] = max(jet.order, self.orders.get(jet.base, 0))
        if not self.orders:
            raise InvalidLagrangian(
                "L contains no coordinates. "
                'Make them with `q = lg.coordinates("q")`, and use `q.dot`, `q.ddot`.'
            )
        if still := [q for q, order in self.orders.items() if order == 0]:
            raise InvalidLagrangian(
                f"no inertia in `{still[0]}`: L contains no derivative of it. Add a "
                "kinetic term, or make it a constant, a `sympy.Symbol`."
            )
        check_lookalikes({"expression": self.expression}, self.coordinates)

    def _content(self) -> tuple[Any, ...]:
        return HigherOrderLagrangian, self.expression

    _next = "`.equations`, `.momenta`, `.energy`, `lg.noether(L, symmetry)`"
    _engine = frozenset(
        "orders factor variables pairing variation total_derivative on_shell".split()
    )

    def __str__(self) -> str:
        return f"HigherOrderLagrangian: L = {shown(self.expression)}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle L = {shown_latex(self.expression)}$"

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """The coordinates of L, in natural order of name."""
        return tuple(self.orders)

    @cached_property
    def momenta(self) -> dict[Any, tuple[Any, ...]]:
        """p_1, ..., p_n of each coordinate: p_k = dL/dq^(k) - d/dt p_{k+1}."""
        momenta = {}
        for q, order in self.orders.items():
            chain: list[Any] = [sp.S.Zero]
            for k in range(order, 0, -1):
                above = total_derivative(chain[0])
                chain.insert(0, sp.expand(self._slope(q, k) - above))
            momenta[q] = tuple(chain[:-1])
        return momenta

    @cached_property
    def equations(self) -> list[Any]:
        """sum (-d/dt)^k dL/dq^(k) = 0, written d/dt p_1 - dL/dq = 0."""
        return [
            sp.Eq(
                sp.expand(total_derivative(p[0]) - self._slope(q, 0)), 0, evaluate=False
            )
            for q, p in self.momenta.items()
        ]

    @cached_property
    def energy(self) -> Any:
        """sum p_k q^(k) - L."""
        return sp.expand(
            sp.Add(
                *(
                    p * _dots(q, k)
                    for q, chain in self.momenta.items()
                    for k, p in enumerate(chain, start=1)
                )
            )
            - self.expression
        )

    @property
    def variables(self) -> tuple[Any, ...]:
        """Time alone."""
        return (time,)

    @property
    def factor(self) -> Any:
        return sp.S.One

    def pairing(self, symmetry: Symmetry) -> dict[Any, Any]:
        """sum p_k D^(k-1) eta + tau L with eta = xi - tau qdot, the charge.

        That of `TimeTranslation` is the energy.
        """
        charge = symmetry.tau * self.expression
        for _, p, motion in self._motions(symmetry):
            charge += sp.Add(*map(sp.Mul, p, motion))
        return {time: sp.expand(charge)}

    def variation(self, symmetry: Symmetry) -> dict[str, Any]:
        """sum dL/dq^(k) D^k eta + D(tau L)."""
        change = total_derivative(symmetry.tau * self.expression)
        for q, _, motion in self._motions(symmetry):
            change += sp.Add(*(self._slope(q, k) * m for k, m in enumerate(motion)))
        return {"variation": sp.expand(change)}

    def _motions(self, symmetry: Symmetry) -> Iterator[tuple[Any, Any, list[Any]]]:
        """Each coordinate, its momenta, and D^k eta for all orders k."""
        for q, order in self.orders.items():
            motion = [symmetry.xi.get(q, sp.S.Zero) - symmetry.tau * q.dot]
            for _ in range(order):
                motion.append(total_derivative(motion[-1]))
            yield q, self.momenta[q], motion

    def total_derivative(self, variable: sp.Expr, expression: Expression) -> Any:
        return total_derivative(expression)

    @cached_property
    def _highest(self) -> dict[Any, Any] | None:
        """The derivatives of order 2n, if the equations give one for each coordinate.

        Those of coordinates of different orders may bind lower ones as well.
        """
        top = {q: _dots(q, 2 * order) for q, order in self.orders.items()}
        left = sp.Matrix([equation.lhs for equation in self.equations])
        if any(jet.order > top[jet.base].order for jet in jets(left)):
            return None
        return solved(left, list(top.values()))

    def on_shell(self, expression: Expression) -> Any | None:
        """An expression with those derivatives put in that the equations give."""
        if self._highest is None:
            return None
        known = self._highest
        top = {symbol.base: symbol for symbol in known}

        def value(jet: Any) -> Any | None:
            base = top.get(jet.base)
            if base is None or jet.order < base.order:
                return None
            rate = known[base]
            for _ in range(jet.order - base.order):
                rate = total_derivative(rate)
            return rate

        return reduced(expression, value)

    def _slope(self, q: Any, k: int) -> Any:
        return gradient(self.expression, _dots(q, k))


def _dots(q: Any, k: int) -> Any:
    for _ in range(k):
        q = q.dot
    return q
