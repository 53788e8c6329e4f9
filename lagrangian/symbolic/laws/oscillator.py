"""A charge that is the rate of a quantity: its law as an oscillator of the quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets
from lagrangian.symbolic.algebra.inner import Inner


@dataclass(frozen=True)
class Oscillator:
    """A law as the motion of one quantity x: mass x'' + damping x' + stiffness x = S.

    `quantity` is x as an expression in the coordinates, and `source` is S.
    """

    quantity: sp.Expr
    mass: sp.Expr
    damping: sp.Expr
    stiffness: sp.Expr
    source: sp.Expr

    def __str__(self) -> str:
        left = f"{self.mass}*x'' + {self.damping}*x' + {self.stiffness}*x"
        return f"{left} = {self.source}   with x = {self.quantity}"

    def _repr_latex_(self) -> str:
        mass, damping, stiffness, source, x = map(
            sp.latex,
            (self.mass, self.damping, self.stiffness, self.source, self.quantity),
        )
        return (
            rf"$\displaystyle {mass}\,\ddot x + {damping}\,\dot x + {stiffness}\,x = "
            rf"{source}, \qquad x = {x}$"
        )


def antiderivative(charge: Any) -> Any | None:
    """R(q) with total derivative `charge`, for charges polynomial in the coordinates.

    A term of R of degree n in q contributes n times itself when every velocity in its
    derivative is replaced by its coordinate, which is Euler's theorem.
    """
    along = sp.expand(charge.xreplace({v: v.base for v in jets(charge, order=1)}))
    stretch = sp.Dummy("s", positive=True)
    moment = sp.S.Zero
    for term in sp.Add.make_args(along):
        scaled = sp.expand(term.xreplace({q: stretch * q for q in jets(term)}))
        degree = scaled.as_coeff_exponent(stretch)[1]
        if not degree.is_Integer or degree <= 0:
            return None
        moment += term / degree
    if sp.expand(total_derivative(moment) - charge) != 0:
        return None
    return moment


def content(expression: Any) -> tuple[Any, Any]:
    """The coefficient without coordinates, and the rest."""
    return sp.factor_terms(expression).as_independent(Coordinate, Inner, as_Add=False)
