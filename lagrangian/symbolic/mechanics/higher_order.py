"""Lagrangians with second and higher derivatives, after Ostrogradsky."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry
from lagrangian.symbolic.algebra.calculus import gradient, total_derivative
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import jets
from lagrangian.symbolic.algebra.inputs import check_lookalikes, written
from lagrangian.symbolic.algebra.symmetry import Symmetry


@dataclass(frozen=True)
class HigherOrderLaw:
    """A charge of a higher-order Lagrangian and its rate on shell."""

    charge: Any
    rate: Any

    def __str__(self) -> str:
        return f"charge: {self.charge}\n  rate: {self.rate}"

    def _repr_latex_(self) -> str:
        return (
            r"$\displaystyle \begin{aligned} "
            rf"\text{{charge}} &: {sp.latex(self.charge)} \\ "
            rf"\text{{rate}} &: {sp.latex(self.rate)} \end{{aligned}}$"
        )


class HigherOrderLagrangian(ByContent):
    """L(q, qdot, qddot, ..., t) of scalar coordinates, of any order.

    Raises:
        InvalidLagrangian: no coordinate, one of which L contains no derivative, text,
            or a symbol that has the name of a coordinate or of time and is not it.
    """

    def __init__(self, expression: Any):
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
                f"no inertia in `{still[0]}`: L contains no derivative of it."
            )
        check_lookalikes({"expression": self.expression}, self.coordinates)

    def _content(self) -> tuple[Any, ...]:
        return HigherOrderLagrangian, self.expression

    @property
    def coordinates(self) -> tuple[Any, ...]:
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

    def noether(self, symmetry: Symmetry) -> HigherOrderLaw:
        """C = sum p_k D^(k-1) eta + tau L with eta = xi - tau qdot, and its rate.

        The rate, sum dL/dq^(k) D^k eta + D(tau L), is the variation of L: zero for a
        symmetry. The charge of `TimeTranslation` is the energy.

        Raises:
            InvalidSymmetry: the generator moves coordinates that L lacks.
        """
        if foreign := [q for q in symmetry.xi if q not in self.orders]:
            raise InvalidSymmetry(
                f"{symmetry!r} moves `{foreign[0]}`, which L does not contain. Its "
                f"coordinates are {', '.join(f'`{q}`' for q in self.orders)}."
            )
        charge = symmetry.tau * self.expression
        rate = total_derivative(charge)
        for q, order in self.orders.items():
            motion = symmetry.xi.get(q, sp.S.Zero) - symmetry.tau * q.dot
            for k in range(order + 1):
                rate += self._slope(q, k) * motion
                if k < order:
                    charge += self.momenta[q][k] * motion
                    motion = total_derivative(motion)
        return HigherOrderLaw(sp.expand(charge), sp.expand(rate))

    def _slope(self, q: Any, k: int) -> Any:
        return gradient(self.expression, _dots(q, k))


def _dots(q: Any, k: int) -> Any:
    for _ in range(k):
        q = q.dot
    return q
