"""The inverse of the total time derivative: boundary terms of divergence symmetries."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.integrals.manualintegrate import manualintegrate
from sympy.polys.rings import PolyElement

from lagrangian.symbolic.algebra.blocks import Block, BlockExpression, ConstantBlock
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.exact.checked import is_boundary, vanishes_everywhere
from lagrangian.symbolic.exact.function_ring import FunctionRing
from lagrangian.symbolic.exact.generators import OutsideRing
from lagrangian.symbolic.exact.null_space import linear_system, null_space
from lagrangian.symbolic.exact.states import NO_VALUE

#: The ansatz for a boundary term may grow to this many terms, in this many rounds; the
#: equations for its coefficients to so many terms.
MOST_TERMS, MOST_ROUNDS, LARGEST_SYSTEM = 400, 3, 10_000

#: Where SymPy integrates by parts without end, and so does it from so many operations.
LARGEST_INTEGRAND = 80
KINKED = (sp.Abs, sp.sign, sp.Heaviside, sp.DiracDelta, sp.Max, sp.Min, sp.Piecewise)


def boundary_term(expression: Expression) -> Any | None:
    """B with `total_derivative(B) == expression` identically, or None.

    The Euler operator decides whether there is one: it annihilates total derivatives
    and, on a domain without holes, nothing else (Olver, "Applications of Lie Groups to
    Differential Equations", theorem 4.7). B itself is looked for twice: as a
    combination of the monomials in the functions at hand whose derivatives can produce
    those of `expression` (the idea of Risch and Norman), then by integrating over one
    variable after the other. What is returned has been differentiated, compared
    in 50 digits at random states, and does not jump; its additive constant is free.

    None means that `expression` is no total derivative, or that B was not found in
    closed form; it is always the answer for a non-zero expression in blocks. An
    integral over time alone may stay in B unevaluated.

    Args:
        expression: a scalar, in coordinates and their derivatives, and `lg.time`.

    Returns:
        An expression, or None.

    >>> from lagrangian import coordinates, time
    >>> x = coordinates("x")
    >>> boundary_term(x.dot * time + x)
    t*x
    >>> boundary_term(x * x.dot**2) is None
    True
    """
    expression = sp.sympify(expression)
    if expression == 0:
        return sp.S.Zero
    if expression.has(Block, BlockExpression, ConstantBlock):
        return None
    for method in (_by_algebra, _term_by_term):
        try:
            candidate = method(expression)
        except (OutsideRing, *NO_VALUE):
            continue
        if candidate is None:
            return None
        if is_boundary(candidate, expression):
            return candidate
    return None


def _euler_operator_breaks(expression: sp.Expr) -> bool:
    """Whether the Euler operator is seen not to annihilate it, at random states."""
    found = jets(expression)
    top = max((jet.order for jet in found), default=0)
    for q in dict.fromkeys(jet.base for jet in found):
        result = sp.S.Zero
        for k in range(top, -1, -1):
            result = variation(expression, {q._at(k): 1}) - total_derivative(result)
        if vanishes_everywhere(result, expression) is False:
            return True
    return False


def _by_algebra(expression: sp.Expr) -> Any | None:
    """B in the ring of the functions at hand; None if there is none anywhere.

    Raises:
        OutsideRing: neither is known.
    """
    found = jets(expression)
    top = max((jet.order for jet in found), default=0)
    bases = list(dict.fromkeys(jet.base for jet in found))
    # The Euler operator differentiates by time up to `top` times what has top - 1 dots.
    variables = [q._at(k) for k in range(max(2 * top, 2)) for q in bases] + [time]
    ring = FunctionRing([expression], variables)
    density = ring.polynomial(expression)
    if not ring.normal([density])[0]:
        return sp.S.Zero
    closed = _is_affine(ring, density, top) and _is_closed(ring, density, bases, top)
    # An incomplete ring may not see that the Euler operator gives zero.
    if ring.complete and not closed:
        return None
    if not ring.complete and _euler_operator_breaks(expression):
        return None
    part, rest, order = _by_degree(ring, density, top)
    by_ansatz = _from_ansatz(ring, rest, max(order, 1))
    if by_ansatz is None:
        raise OutsideRing(f"the ansatz for `{expression}` was too small.")
    return ring.expression(part) + by_ansatz


def _is_affine(ring: FunctionRing, density: PolyElement, top: int) -> bool:
    highest = [v for v in ring.variables if v != time and v.order == top]
    curves = [ring.derivative(density, v) for v in highest]
    if top > 0:
        curves = [ring.derivative(slope, v) for slope in curves for v in highest]
    return not any(ring.normal(curves))


def _is_closed(
    ring: FunctionRing, density: PolyElement, bases: list[Coordinate], top: int
) -> bool:
    """Whether the Euler operator of every coordinate annihilates the density."""
    for q in bases:
        # Horner's rule for the alternating sum of (-D_t)^k of d/d(k-th derivative).
        result = ring.ring.zero
        for k in range(top, -1, -1):
            if result:
                result = -ring.total_derivative(result)
            result += ring.derivative(density, q._at(k))
        if ring.normal([result])[0]:
            return False
    return True


def _by_degree(
    ring: FunctionRing, density: PolyElement, top: int
) -> tuple[PolyElement, PolyElement, int]:
    """The part of B that is polynomial in jets, what it leaves, and the order of that.

    The slopes of the density in the highest jets are those of B in the ones below. By
    Euler's theorem a part of B of degree k in these is 1/k times their sum with the
    slopes of degree k - 1.
    """
    boundary = ring.ring.zero
    while top > 0:
        pairs = [
            (ring.place(v), ring.derivative(density, v.dot))
            for v in ring.variables
            if v != time and v.order == top - 1
        ]
        places = [i for i, _ in pairs]
        if any(
            ring.depends(i, v) and any(m[i] for m in density)
            for i in set(ring.moving) - set(places)
            for v in ring.variables
            if v != time and v.order == top - 1
        ):
            break
        part = ring.ring.zero
        for i, slope in pairs:
            for monomial, number in slope.items():
                degree = sum(monomial[j] for j in places) + 1
                part += ring.ring.term_new(_raised(monomial, i, 1), number / degree)
        boundary += part
        density -= ring.total_derivative(part)
        top -= 1
    return boundary, density, top


def _from_ansatz(ring: FunctionRing, density: PolyElement, top: int) -> Any | None:
    """B as a combination of monomials whose derivatives share monomials with it."""
    if not ring.normal([density])[0]:
        return sp.S.Zero
    # A total derivative has one dot more than what it is of.
    above = [v for v in ring.variables if v != time and v.order >= top]
    highest = {i for i in ring.moving if any(ring.depends(i, v) for v in above)}
    steps = {
        i: step
        for i in ring.moving
        if i not in highest and (step := ring.total_derivative(ring.ring.gens[i]))
    }
    wanted, seen = set(density), set(density)
    slopes: dict[tuple[int, ...], PolyElement] = {}
    for _ in range(MOST_ROUNDS):
        fresh = {
            candidate
            for monomial in wanted
            for i, step in steps.items()
            for part in step
            if (candidate := _preimage(ring, monomial, i, part)) is not None
            and not any(candidate[j] for j in highest)
        } - slopes.keys()
        for candidate in fresh:
            slope = ring.ring.zero
            for i, step in steps.items():
                if candidate[i]:
                    slope += step.mul_monom(_raised(candidate, i, -1)) * candidate[i]
            slopes[candidate] = slope
        if not fresh or len(slopes) > MOST_TERMS:
            return None
        solution = _fit(ring, density, slopes)
        if solution is not None:
            return solution
        wanted = {m for candidate in fresh for m in slopes[candidate]} - seen
        seen |= wanted
    return None


def _raised(monomial: tuple[int, ...], i: int, by: int) -> tuple[int, ...]:
    return (*monomial[:i], monomial[i] + by, *monomial[i + 1 :])


def _preimage(
    ring: FunctionRing, monomial: tuple[int, ...], i: int, part: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The monomial whose derivative by way of generator i contains `monomial`.

    `part` is a monomial of the derivative of that generator. Parameters are left to
    the coefficients.
    """
    result = [0] * len(monomial)
    for j in ring.moving:
        result[j] = monomial[j] - part[j] + (i == j)
        if result[j] < 0:
            return None
    return tuple(result) if result[i] > 0 else None


def _fit(
    ring: FunctionRing, density: PolyElement, slopes: dict[tuple[int, ...], PolyElement]
) -> Any | None:
    # Of equivalent forms the simpler stays: pivots, the first, are eliminated.
    monomials = sorted(slopes, key=lambda m: (-sum(m), m))
    normal = ring.normal([-density, *(slopes[m] for m in monomials)])
    if len(ring.basis) * sum(map(len, normal)) > LARGEST_SYSTEM:
        raise OutsideRing("the ansatz has become too large.")
    rows = linear_system(ring, [(k, 0, p) for k, p in enumerate(normal)])
    basis = null_space(rows, len(normal) * len(ring.basis), ring)
    if not basis or 0 not in basis[0]:
        return None
    values = ring.values(basis[0])
    if values.pop(0) != 1:
        return None
    return sp.Add(
        *(
            value * ring.expression(ring.ring.term_new(monomials[k - 1], 1))
            for k, value in values.items()
        )
    )


def _term_by_term(expression: sp.Expr) -> Any | None:
    """B by integrating over the highest derivatives first, over time last."""
    rest, boundary = sp.expand(expression), sp.S.Zero
    for _ in range(2 * len(jets(rest)) + 1):
        moving = [v for v in jets(rest) if v.order > 0]
        if not moving:
            break
        v = max(moving, key=lambda jet: jet.order)
        below = v._at(v.order - 1)
        part = _antiderivative(sp.diff(rest, v), below)
        if part is None:
            return None
        boundary += part
        rest = sp.expand(rest - total_derivative(part))
        if rest.has(v):
            return None
    if jets(rest):
        return None
    for term in sp.Add.make_args(rest):
        part = _antiderivative(term, time)
        boundary += sp.Integral(term, time) if part is None else part
    return boundary


def _antiderivative(expression: sp.Expr, variable: Any) -> Any | None:
    if expression.has(*KINKED) or expression.count_ops() > LARGEST_INTEGRAND:
        return None
    result = manualintegrate(expression, variable)
    return None if result.has(sp.Integral, sp.Piecewise) else result
