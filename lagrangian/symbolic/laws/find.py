"""All polynomial symmetries of a Lagrangian, from the determining equations."""

from __future__ import annotations

from functools import reduce
from itertools import combinations_with_replacement
from math import comb
from typing import Any

import sympy as sp

from lagrangian.elapsed import elapsed
from lagrangian.errors import InvalidLagrangian, InvalidSymmetry
from lagrangian.symbolic.algebra.calculus import total_derivative, variation
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.boundary import boundary_term
from lagrangian.symbolic.exact.checked import Slopes
from lagrangian.symbolic.exact.function_ring import FunctionRing
from lagrangian.symbolic.exact.generators import OutsideRing
from lagrangian.symbolic.exact.null_space import Solution, echelon
from lagrangian.symbolic.laws.determining import Equations, Unknown
from lagrangian.symbolic.laws.noether import Law, noether
from lagrangian.symbolic.laws.on_shell import is_constant
from lagrangian.symbolic.laws.symmetries import Symmetries
from lagrangian.symbolic.laws.usual_names import name_of
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

#: A larger ansatz is refused.
MOST_UNKNOWNS = 4000


def find_symmetries(
    lagrangian: Lagrangian, degree: int = 1, *, velocities: bool = False
) -> Symmetries:
    """All symmetries with polynomial generators, their boundary terms and charges.

    xi(q, t) and tau(q, t) are polynomials of total degree up to `degree` in the
    coordinates and time; with `velocities`, xi has terms K(q, t) qdot with such
    polynomials besides, as the Runge-Lenz vector and the Fradkin tensor need, which
    also covers tau (it acts as K = -tau). The symmetries in xi and tau come first then,
    and the others are a basis modulo them.

    The determining equations of Noether's theorem (`Equations`) are solved exactly
    over the rational functions of the parameters. Nothing is missed: the boundary term
    is eliminated from the equations instead of guessed at, and they are split by
    functions that are linearly independent (`FunctionRing`); `Symmetries.complete` says
    where this is not assured. Nothing is claimed in vain: every generator is put back
    into delta L = D_t B, and the rate of every charge must be zero at random states, in
    50-digit arithmetic.

    Parameters are generic: a symmetry that needs special values of them (two equal
    spring constants) appears once those values are put in.

    Args:
        lagrangian: in scalar coordinates.
        degree: of the polynomials.
        velocities: whether xi may be linear in the velocities.

    Returns:
        `Symmetries`, which print as a list.

    Raises:
        InvalidLagrangian: `lagrangian` is none.
        InvalidSymmetry: the Lagrangian has blocks, forces, dissipation or constraints,
            or the ansatz is too large.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> L = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + y**2) ** 2)
    >>> [symmetry.name for symmetry in find_symmetries(L).of_lagrangian]
    ['time translation', 'rotation']
    """
    if not isinstance(lagrangian, Lagrangian):
        raise InvalidLagrangian(
            "`find_symmetries` takes a `Lagrangian`, and got "
            f"{type(lagrangian).__name__}. Write `lg.Lagrangian(T, V)`."
        )
    if lagrangian.has_blocks:
        raise InvalidSymmetry(
            "`find_symmetries` needs scalar coordinates, and this Lagrangian has "
            "blocks, whose motions are no polynomials in finitely many numbers. State "
            'a symmetry of a block yourself, as in `lg.Scale("dense.kernel")`.'
        )
    constrained = lagrangian.constraints.multipliers
    if lagrangian.forces or lagrangian.dissipation != 0 or constrained:
        raise InvalidSymmetry(
            "`find_symmetries` reads L alone, and this system has forces, dissipation "
            "or constraints besides, which change the charges. Leave them out of the "
            "Lagrangian here, and give each symmetry found to `lg.noether` with them."
        )
    n = len(lagrangian.coordinates)
    _check_size(n, degree, velocities)
    try:
        with elapsed("looking for symmetries"):
            return _found(lagrangian, degree, velocities)
    except OutsideRing as error:
        raise InvalidSymmetry(
            "`find_symmetries` does not know enough derivatives of the functions in "
            f"this Lagrangian: {error} State a symmetry yourself, as in "
            "`lg.noether(L, lg.Symmetry({q: xi}))`."
        ) from error


def _found(lagrangian: Lagrangian, degree: int, velocities: bool) -> Symmetries:
    n = len(lagrangian.coordinates)
    equations = Equations(lagrangian)
    ring, monomials = equations.ring, _monomials(n + 1, degree)

    movers = [None, *range(n)]
    ansatz = [Unknown(i, powers) for powers in monomials for i in movers]
    operators = equations.of_lagrangian()
    solutions = equations.kernel(operators, ansatz)
    check = _Check(lagrangian)
    for solution in ring.leading(solutions):
        check.add(_symmetry(equations, ansatz, solution))
    if velocities:
        wide = [Unknown(i, powers) for powers in monomials for i in range(n)] + [
            Unknown(i, powers, j)
            for powers in monomials
            for j in range(n)
            for i in range(n)
        ]
        size = len(ring.basis)
        points = [_without_tau(s, ansatz, wide, n, size) for s in solutions]
        more = _complement(equations.kernel(operators, wide), points, ring)
        for solution in ring.leading(more):
            check.add(_symmetry(equations, wide, solution))

    still = [
        Unknown(i, powers) for powers in monomials if not powers[n] for i in range(n)
    ]
    of_T, of_V = equations.of_part(equations.T), equations.of_part(equations.V)
    kinetic = equations.kernel(of_T, still)
    shared = equations.kernel([*of_T, *of_V], still)
    broken = _complement(equations.kernel(of_V, still), shared, ring)

    def leaving(slopes: Slopes, solutions: list[Solution]) -> tuple[Symmetry, ...]:
        symmetries = [_symmetry(equations, still, s) for s in ring.leading(solutions)]
        kept = [s for s in symmetries if slopes.vanish_along(_motion_of(lagrangian, s))]
        check.complete &= len(kept) == len(symmetries)
        return tuple(kept)

    slopes_of_T, slopes_of_V = Slopes(lagrangian.T), Slopes(lagrangian.V)
    of_both, of_the_rest = leaving(slopes_of_V, shared), leaving(slopes_of_V, broken)
    return Symmetries(
        lagrangian=lagrangian,
        degree=degree,
        velocities=velocities,
        found=tuple(check.found),
        of_kinetic=leaving(slopes_of_T, kinetic),
        of_potential=of_both + of_the_rest,
        broken_by_kinetic=of_the_rest,
        unverified=tuple(check.unverified),
        complete=ring.complete and check.complete,
    )


def _check_size(n: int, degree: int, velocities: bool) -> None:
    def size(degree: int) -> int:
        return (n + n * n if velocities else n + 1) * comb(n + 1 + degree, degree)

    if not isinstance(degree, int) or degree < 0:
        raise InvalidSymmetry(f"`degree` is {degree!r}. Pass a whole number from 0 on.")
    if size(degree) > MOST_UNKNOWNS:
        fits = max((d for d in range(degree) if size(d) <= MOST_UNKNOWNS), default=None)
        advice = (
            f"Pass `degree={fits}`, the largest that fits."
            if fits is not None
            else "No degree fits so many coordinates."
        )
        raise InvalidSymmetry(
            f"the ansatz of degree {degree} in {n} coordinates has {size(degree)} "
            f"unknowns, more than {MOST_UNKNOWNS}. {advice}"
        )


def _monomials(count: int, degree: int) -> list[tuple[int, ...]]:
    """All powers of so many variables, constants first."""
    # A slot more than there are variables takes up what is left of the degree.
    picks = combinations_with_replacement(range(count + 1), degree)
    powers = (tuple(pick.count(i) for i in range(count)) for pick in picks)
    return sorted(powers, key=lambda p: (sum(p), p[::-1]))


def _without_tau(
    solution: Solution, ansatz: list[Unknown], wide: list[Unknown], n: int, size: int
) -> Solution:
    """The same characteristic with the motion of time as K = -tau."""
    place = {unknown: k for k, unknown in enumerate(wide)}
    result = {}
    for k, value in solution.items():
        unknown, root = ansatz[k // size], k % size
        if unknown.moves is None:
            for i in range(n):
                at = place[Unknown(i, unknown.powers, i)]
                result[at * size + root] = -value
        else:
            result[place[unknown] * size + root] = value
    return result


def _complement(
    space: list[Solution], inside: list[Solution], ring: FunctionRing
) -> list[Solution]:
    """A basis of the space modulo a part of it, in echelon form."""
    taken = {min(vector) for vector in echelon(inside, ring)}
    both = echelon([*inside, *space], ring)
    return [vector for vector in both if min(vector) not in taken]


class _Check:
    """Puts symmetries back into L, and keeps those whose charges are constant."""

    def __init__(self, lagrangian: Lagrangian):
        self.lagrangian = lagrangian
        self.slopes = Slopes(lagrangian.expression)
        self.found: list[Law] = []
        self.unverified: list[Symmetry] = []
        self.complete = True

    def add(self, symmetry: Symmetry) -> None:
        lagrangian, xi, tau = self.lagrangian, symmetry.xi, symmetry.tau
        motion, stretch = _motion_of(lagrangian, symmetry), total_derivative(tau)
        boundary: Any = sp.S.Zero
        if not self.slopes.vanish_along(motion, stretch):
            L = lagrangian.expression
            boundary = boundary_term(variation(L, motion) + L * stretch)
        if boundary is None:
            self.unverified.append(symmetry)
            return
        # Written as the factor times what it multiplies.
        factor = lagrangian.factor
        boundary = factor * sp.expand_mul(boundary / factor)
        symmetry = Symmetry(xi, tau, symmetry.name, boundary=boundary)
        law = noether(lagrangian, symmetry)
        if is_constant(lagrangian, factor * law.charge):
            self.found.append(law)
        else:
            self.complete = False


def _motion_of(lagrangian: Lagrangian, symmetry: Symmetry) -> dict[Any, Any]:
    """How coordinates, velocities and time move along a generator."""
    motion = {time: symmetry.tau, **symmetry.xi}
    stretch = total_derivative(symmetry.tau)
    for q in lagrangian.coordinates:
        speed = total_derivative(symmetry.xi.get(q, sp.S.Zero))
        motion[q.dot] = speed - q.dot * stretch
    return motion


# ------------------------------------------------------------ readable generators


def _symmetry(
    equations: Equations, ansatz: list[Unknown], solution: Solution
) -> Symmetry:
    q, ring = equations.positions, equations.ring
    xi: dict[Any, Any] = {}
    tau = sp.S.Zero
    for k, value in _integral(solution, ring).items():
        unknown = ansatz[k]
        factors = (s**p for s, p in zip((*q, time), unknown.powers, strict=True))
        term = sp.Mul(value, *factors)
        if unknown.factor is not None:
            term *= q[unknown.factor].dot
        if unknown.moves is None:
            tau += term
        else:
            xi[q[unknown.moves]] = xi.get(q[unknown.moves], sp.S.Zero) + term
    xi = {c: xi[c] for c in q if c in xi}
    name = name_of(xi, tau, equations.constant_masses)
    if name == "time translation":
        return Symmetry({}, tau=-1, name=name)  # so that its charge is +E
    if name == "rotation" and not next(iter(xi.values())).could_extract_minus_sign():
        xi = {c: -d for c, d in xi.items()}  # x p_y - y p_x
    return Symmetry(xi, tau, name)


def _integral(solution: Solution, ring: FunctionRing) -> dict[int, Any]:
    """Without denominators and common factors, and with a positive lead."""
    values = dict(sorted(ring.values(solution).items()))
    parts = list(values.values())
    below = reduce(sp.lcm, (sp.fraction(sp.together(v))[1] for v in parts), sp.S.One)
    parts = [sp.expand(sp.cancel(v * below)) for v in parts]
    common = reduce(sp.gcd, parts)
    parts = [sp.expand(sp.cancel(v / common)) for v in parts]
    if parts[0].could_extract_minus_sign():
        parts = [-v for v in parts]
    return dict(zip(values, parts, strict=True))
