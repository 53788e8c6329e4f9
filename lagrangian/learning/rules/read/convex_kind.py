"""Whether an update is the slope of a convex function of a covector."""

from __future__ import annotations

from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.convex import is_increasing
from lagrangian.learning.rules.read.kind import (
    LENGTH,
    Covector,
    Kind,
    P,
    coefficients_of_decay,
    covector_of,
    goes_down,
)
from lagrangian.learning.rules.read.linear import (
    coefficients,
    factored,
    filter_of,
    ratio,
)
from lagrangian.learning.rules.read.part import Part, count, g, q


def convex(update: Any, part: Part, states: Any) -> Kind | None:
    """A convex function of one covector, which averages of gradients make up."""
    move, rest = coefficients_of_decay(_scheduled_apart(update))
    combination = _argument(rest, states)
    if combination is None:
        return None
    found = filter_of(combination, states, True)
    if found is None or not found.stable:
        return None
    response = found.response
    if response == 0 or not response.is_number:
        return None
    decays = found.decays
    if decays is None or decays[1] != 0 or not decays[0].is_number:
        return None
    combination = sp.expand(combination / response)
    slope = _in_covector(rest, combination)
    length = None
    if slope is None:
        return None
    allowed = {P, count}
    sums = [s for s in slope.free_symbols if s in part.sums]
    if sums:
        radial = _radial(slope, sums, part, combination)
        if radial is None:
            return None
        (slope, length), allowed = radial, {P, LENGTH, count}
    elif any(s in part.sums for s in rest.free_symbols):
        return None
    if not slope.free_symbols <= allowed | _state_symbols(part):
        return None
    if coefficients(slope, [P]) and not sums:
        return None  # linear: a metric
    rate, slope = _rate_and_slope(-slope)
    if slope is None or not goes_down(-rate):
        return None
    if not is_increasing(slope, P, LENGTH):
        return None
    decoupled = ratio(-move, rate)
    if not decoupled.is_number:
        return None
    return Kind(
        "convex",
        rate=rate,
        covector=_with_decay(covector_of(found, states), decays[0]),
        age=found.age,
        coupled=decays[0],
        decoupled=decoupled,
        metric=_unsigned(P / slope).xreplace({P: combination, LENGTH: length}),
        slope=slope,
        filter=found,
    )


def convex_at_q(update: Any) -> Kind | None:
    """A convex function of the gradient that is another one at every q (mirrors)."""
    if update.free_symbols != {g, q} or update.xreplace({g: sp.S.Zero}) != 0:
        return None
    slope = -update.xreplace({g: P})
    if not slope.diff(P).is_positive:
        return None
    return Kind("convex", slope=slope, metric=-g / update)


def _scheduled_apart(update: Any) -> Any:
    """A schedule times a sum as the sum of its products, so that terms stand alone."""
    rate, rest = factored(update)
    if not rate.has(count):
        return update
    return sp.Add(*(rate * term for term in sp.Add.make_args(rest)))


def _unsigned(expression: Any) -> Any:
    """x/sign(x) as |x|."""
    signs = {s: s.args[0] / sp.Abs(s.args[0]) for s in expression.atoms(sp.sign)}
    return expression.xreplace(signs)


def _with_decay(covector: Covector, decay: Any) -> Covector:
    if covector.state is None and decay != 0:
        return Covector(None, sp.S.Zero, sp.S.One, decay)
    return covector


def _state_symbols(part: Part) -> set[Any]:
    """The symbols of its states, which a slope may have: a step size, say."""
    return {v for s in part.states for v in (s.before, s.after)}


def _argument(rest: Any, states: Any) -> Any:
    """The linear combination of which all else is a function."""
    symbols = {v for s in states for v in (s.before, s.after)} | {g}
    present = rest.free_symbols & symbols
    if present == {g} and q not in rest.free_symbols:
        return g
    if len(present) == 1 and q not in rest.free_symbols:
        return present.pop()
    variables = [g, q, *symbols - {g}]
    largest = None
    for node in sp.preorder_traversal(rest):
        if isinstance(node, sp.Add) and (found := coefficients(node, variables)):
            if all(f.is_number for f in found.values()) and found.keys() & symbols:
                largest = node
                break
    if largest is None and present == {g}:
        return g
    return largest


def _in_covector(rest: Any, combination: Any) -> Any:
    """The expression with P in the place of its argument; None if more is left."""
    variables = sorted(combination.free_symbols, key=lambda s: (s != g, s.name))
    pivot = variables[0]
    found = coefficients(combination, variables)
    if not found:
        return None
    others = sp.Add(*(f * v for v, f in found.items() if v != pivot))
    told = rest.xreplace({pivot: sp.expand((P - others) / found[pivot])})
    if told.free_symbols & set(variables):
        told = sp.expand(told)
    return None if told.free_symbols & set(variables) - {P} - ({q} - {pivot}) else told


def _radial(slope: Any, sums: Any, part: Part, combination: Any) -> Any:
    """The slope as a function of |P|, and |P|, where the only sum in it is of P^2."""
    if len(sums) != 1:
        return None
    kind, term, _ = part.sums[sums[0]]
    if kind not in ("sum", "mean"):
        return None
    share = sp.cancel(term / combination**2)
    if not (share.is_number and share > 0):
        return None
    factor = coefficients(slope, [P])
    if not factor:
        return None
    told = P * factor[P].xreplace({sums[0]: share * LENGTH**2})
    return told, sp.sqrt(sums[0] / share)


def _rate_and_slope(slope: Any) -> tuple[Any, Any]:
    """(eta, phi): with the numbers in front, if phi then has a plain scale."""
    rate, rest = factored(slope)
    if rate.is_number and rate < 0:
        rate, rest = -rate, -rest
    return (rate, rest) if rate != 0 else (rate, None)
