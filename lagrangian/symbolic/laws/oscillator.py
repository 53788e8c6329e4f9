"""A charge that is the rate of a quantity: its law as an oscillator of the quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.calculus import total_derivative
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets
from lagrangian.symbolic.algebra.inner import Inner
from lagrangian.symbolic.algebra.shown import (
    combination,
    combination_latex,
    shown,
    shown_latex,
)


@dataclass(frozen=True, repr=False)
class Oscillator(AtPrompt):
    """A law as the motion of one quantity x: mass x'' + damping x' + stiffness x = S.

    Of the moment of inertia it is the Lagrange-Jacobi identity, of a scale of weights
    the equation of Tanaka & Kunin, "Noether's Learning Dynamics" (2021).

    Attributes:
        quantity: x, as an expression in the coordinates.
        mass, damping, stiffness: the coefficients, in parameters and time alone.
        source: S, in coordinates and velocities.

    >>> import lagrangian as lg
    >>> rule = lg.HeavyBall(0.05, momentum=0.9)
    >>> scale = lg.Scale("w")
    >>> print(lg.noether(rule.lagrangian(scale.loss), scale).oscillator)
    m/2*x'' + mu/2*x' + lambda*x = m*|w.dot|^2   with x = |w|^2
    """

    quantity: sp.Expr
    mass: sp.Expr
    damping: sp.Expr
    stiffness: sp.Expr
    source: sp.Expr

    _next = "`.quantity`, `.source`, `.stiffness`, `lg.predict(run, law)`"

    def __str__(self) -> str:
        left = combination({"x''": self.mass, "x'": self.damping, "x": self.stiffness})
        return f"{left} = {shown(self.source)}   with x = {shown(self.quantity)}"

    def _repr_latex_(self) -> str:
        left = combination_latex(
            {r"\ddot x": self.mass, r"\dot x": self.damping, "x": self.stiffness}
        )
        source, x = shown_latex(self.source), shown_latex(self.quantity)
        return rf"$\displaystyle {left} = {source}, \qquad x = {x}$"


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
