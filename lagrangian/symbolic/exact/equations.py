"""Equations of motion, solved for their highest derivatives and put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp

from lagrangian.symbolic.algebra.coordinates import Coordinate, jets
from lagrangian.symbolic.algebra.fields import Field


def solved(left: Any, unknowns: Sequence[Any]) -> dict[Any, Any] | None:
    """The unknowns of the linear equations left = 0, or None if they are degenerate."""
    matrix = left.jacobian(unknowns)
    if sp.simplify(matrix.det(method="berkowitz")) == 0:
        return None
    rest = left.xreplace(dict.fromkeys(unknowns, sp.S.Zero))
    solution = matrix.LUsolve(-rest)
    return dict(zip(unknowns, map(sp.cancel, solution), strict=True))


def solved_singly(
    left: Sequence[Any], accelerations: Sequence[Any]
) -> dict[Any, Any] | None:
    """The same where each equation has its own acceleration alone, times a scalar."""
    found = {}
    for acceleration, side in zip(accelerations, left, strict=True):
        terms = sp.Add.make_args(sp.expand(side))
        inert = sp.Add(*(term for term in terms if jets(term, order=2)))
        mass = sp.cancel(inert / acceleration)
        if jets(mass) or mass.is_zero:
            return None
        found[acceleration] = (inert - sp.Add(*terms)) / mass
    return found


def reduced(expression: Any, value: Callable[[Any], Any | None]) -> Any:
    """An expression with the value of each derivative that has one put in.

    Args:
        expression: in coordinates or fields and their derivatives.
        value: of a derivative in lower ones, or None where it is free.
    """
    expression = sp.sympify(expression)
    while True:
        found = {jet: value(jet) for jet in expression.atoms(Coordinate, Field)}
        known = {jet: v for jet, v in found.items() if v is not None}
        if not known:
            return expression
        expression = sp.expand(expression.xreplace(known))
