"""All polynomial symmetries of a Lagrangian, from the determining equations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import comb, perm, prod
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidSymmetry
from lagrangian.symbolic.boundary import boundary_term
from lagrangian.symbolic.calculus import total_derivative, variation
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.determining import (
    FunctionRing,
    echelon,
    linear_system,
    null_space,
    vanishes,
)
from lagrangian.symbolic.symmetry import Symmetry
from lagrangian.symbolic.system import Lagrangian

#: A larger ansatz is refused.
MOST_UNKNOWNS = 4000

#: Longer lists are cut where they are printed.
MOST_SHOWN = 20


# ------------------------------------------------------------ determining equations

#: A solution: the coefficient of each unknown that takes part, by its number.
Solution = dict[int, Any]


@dataclass(frozen=True)
class Unknown:
    """One coefficient of the ansatz: that of a monomial in the motion of something.

    `moves` is the number of the coordinate that moves, or None for time; `powers` are
    those of the coordinates and of time; `factor` is the number of the velocity that
    multiplies the monomial, or None.
    """

    moves: int | None
    powers: tuple[int, ...]
    factor: int | None = None


# A linear differential operator that acts on the components of a characteristic: its
# coefficients by component and by how often each variable differentiates it.
Operator = dict[tuple[int, tuple[int, ...]], Any]


class Equations:
    """The determining equations of one Lagrangian, as operators on characteristics.

    A generator enters by its characteristic Q = xi - tau qdot alone, with
    delta L = <E, Q> + D_t C for E the Euler-Lagrange expressions and C the charge.
    So delta L = D_t B says that I = C - B obeys D_t I = -<E, Q>. Its coefficients of
    the accelerations and of the rest give every partial derivative of I (with
    L = e^sigma l and I = e^sigma c; M the Hessian of l in the velocities, G its forces):

        c_v = w = M Q,   c_q = u = h_v - (d_t + v d_q + sigma') w,   h = -<G, Q>,
        c_t + sigma' c = s = h - <u, v>.

    B exists, on a domain without holes, if and only if these derivatives agree: the
    equations, all linear in Q, in which no B is left. Noether's identity: Olver,
    "Applications of Lie Groups to Differential Equations", section 5.4.
    """

    def __init__(self, lagrangian: Lagrangian):
        self.lagrangian = lagrangian
        self.positions = lagrangian.coordinates
        self.velocities = tuple(q.dot for q in self.positions)
        expressions = [lagrangian.T, lagrangian.V, lagrangian.friction_rate]
        self.ring = FunctionRing(
            expressions, [*self.positions, *self.velocities, time]
        )
        self.T, self.V, self.friction = map(self.ring.polynomial, expressions)

    def of_lagrangian(self) -> list[Operator]:
        """Their common kernel are the symmetries of L up to a divergence."""
        d, friction = self.ring.derivative, self.friction
        l = self.T - self.V
        momenta = [d(l, v) for v in self.velocities]
        forces = [
            d(l, q)
            - sum(
                (
                    d(p, other) * self.ring.generator(v)
                    for other, v in zip(self.positions, self.velocities, strict=True)
                ),
                d(p, time) + friction * p,
            )
            for q, p in zip(self.positions, momenta, strict=True)
        ]
        n = len(self.positions)
        bare = (0,) * len(self.ring.variables)
        w = [
            {(j, bare): d(momenta[j], self.velocities[i]) for j in range(n)}
            for i in range(n)
        ]
        h = {(j, bare): -forces[j] for j in range(n)}
        u = [
            self._sum(
                (1, self._derivative(h, v)), (-1, self._drift(w[i])), (-friction, w[i])
            )
            for i, v in enumerate(self.velocities)
        ]
        s = self._sum(
            (1, h),
            *((-self.ring.generator(v), u[i]) for i, v in enumerate(self.velocities)),
        )
        pairs = list(combinations(range(n), 2))
        q, v = self.positions, self.velocities
        return [
            *(self._curl(w[i], v[j], w[j], v[i]) for i, j in pairs),
            *(self._curl(u[i], v[j], w[j], q[i]) for i in range(n) for j in range(n)),
            *(self._curl(u[i], q[j], u[j], q[i]) for i, j in pairs),
            *(
                self._sum((1, self._curl(s, q[i], u[i], time)), (-friction, u[i]))
                for i in range(n)
            ),
        ]

    def of_part(self, energy: Any) -> list[Operator]:
        """Its kernel are the xi, without motion of time, that leave T or V alone."""
        bare = (0,) * len(self.ring.variables)
        terms = []
        for j, (q, v) in enumerate(zip(self.positions, self.velocities, strict=True)):
            xi = {(j, bare): self.ring.ring.one}
            terms.append((self.ring.derivative(energy, q), xi))
            terms.append((self.ring.derivative(energy, v), self._drift(xi)))
        return [self._sum(*terms)]

    def _derivative(self, operator: Operator, variable: Any) -> Operator:
        at = self.ring.place(variable)
        result: Operator = {}
        for (j, times), a in operator.items():
            raised = (*times[:at], times[at] + 1, *times[at + 1 :])
            for key, part in (
                ((j, times), self.ring.derivative(a, variable)),
                ((j, raised), a),
            ):
                if part:
                    result[key] = result[key] + part if key in result else part
        return result

    def _drift(self, operator: Operator) -> Operator:
        """The total time derivative without the accelerations."""
        return self._sum(
            (1, self._derivative(operator, time)),
            *(
                (self.ring.generator(v), self._derivative(operator, q))
                for q, v in zip(self.positions, self.velocities, strict=True)
            ),
        )

    def _sum(self, *terms: tuple[Any, Operator]) -> Operator:
        result: Operator = {}
        for factor, operator in terms:
            for key, a in operator.items():
                part = a * factor
                result[key] = result[key] + part if key in result else part
        return {key: a for key, a in result.items() if a}

    def _curl(self, a: Operator, by: Any, b: Operator, along: Any) -> Operator:
        return self._sum((1, self._derivative(a, by)), (-1, self._derivative(b, along)))

    def kernel(
        self, operators: Sequence[Operator], ansatz: Sequence[Unknown]
    ) -> list[Solution]:
        """Every combination of the ansatz that all operators annihilate, as a basis."""
        # Multiplying by the monomials of the ansatz keeps a normal form one.
        normal = [
            dict(zip(o, self.ring.normal(list(o.values())), strict=True))
            for o in operators
        ]
        columns = (
            (k, e, image)
            for k, unknown in enumerate(ansatz)
            for e, operator in enumerate(normal)
            if (image := self._image(operator, unknown))
        )
        rows = linear_system(self.ring, columns)
        return null_space(rows, len(ansatz), self.ring)

    def _image(self, operator: Operator, unknown: Unknown) -> Any:
        """The operator on the characteristic of one unknown."""
        terms = self._characteristic(unknown)
        padding = (0,) * (self.ring.ring.ngens - len(self.ring.variables))
        result = self.ring.ring.zero
        for (j, times), a in operator.items():
            for powers, sign in terms.get(j, ()):
                left = tuple(p - k for p, k in zip(powers, times, strict=True))
                if min(left) >= 0:
                    number = prod(map(perm, powers, times))
                    result += a.mul_monom(left + padding) * (sign * number)
        return result

    def _characteristic(
        self, unknown: Unknown
    ) -> dict[int, list[tuple[tuple[int, ...], int]]]:
        """Its terms: powers of positions, velocities and time, and a sign."""
        n = len(self.positions)

        def powers(factor: int | None) -> tuple[int, ...]:
            speeds = tuple(int(i == factor) for i in range(n))
            return (*unknown.powers[:n], *speeds, unknown.powers[n])

        if unknown.moves is None:
            return {i: [(powers(i), -1)] for i in range(n)}
        return {unknown.moves: [(powers(unknown.factor), 1)]}


# ------------------------------------------------------------ what comes back


@dataclass(frozen=True)
class FoundSymmetry:
    """A symmetry of a Lagrangian up to a divergence: delta L = D_t `boundary`.

    `charge` is conserved: <dL/dqdot, xi> - tau E - boundary, for the whole L with its
    damping factor.
    """

    symmetry: Symmetry
    boundary: Any
    charge: Any

    def __str__(self) -> str:
        return f"{_motion(self.symmetry)}; charge {self.charge}"

    def _latex(self) -> str:
        return rf"{_latex_motion(self.symmetry)} && {sp.latex(self.charge)}"


@dataclass(frozen=True, repr=False)
class Symmetries:
    """The symmetries of a Lagrangian within an ansatz, each list a basis.

    - `found`: those of L up to a divergence, with boundary terms and charges;
      `of_lagrangian` has the bare generators.
    - `of_kinetic`, `of_potential`: xi(q) with delta T = 0, or delta V = 0, exactly and
      at every instant (tau = 0).
    - `broken_by_kinetic`: a basis of those of V modulo those that T shares: kinetic
      symmetry breaking (Tanaka & Kunin, "Noether's Learning Dynamics", 2021).
    - `unverified`: solutions of the determining equations whose boundary term was not
      found in closed form, so that delta L = D_t B could not be checked.
    - `complete`: whether the lists are known to lack nothing that the ansatz holds for
      generic parameters. False where L contains functions among which relations could
      not be excluded (special functions, algebraic constants).
    """

    lagrangian: Lagrangian
    degree: int
    velocities: bool
    found: tuple[FoundSymmetry, ...]
    of_kinetic: tuple[Symmetry, ...]
    of_potential: tuple[Symmetry, ...]
    broken_by_kinetic: tuple[Symmetry, ...]
    unverified: tuple[Symmetry, ...]
    complete: bool

    @property
    def of_lagrangian(self) -> tuple[Symmetry, ...]:
        """The symmetries of L up to a divergence."""
        return tuple(item.symmetry for item in self.found)

    def _sections(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        yield "of L, up to a divergence", self.found
        yield "of T alone", self.of_kinetic
        yield "of V alone", self.of_potential
        yield "of V, broken by T", self.broken_by_kinetic
        if self.unverified:
            yield "without a boundary term in closed form", self.unverified

    def __str__(self) -> str:
        kind = ", linear in the velocities" if self.velocities else ""
        lines = [f"Symmetries of degree {self.degree}{kind}"]
        for title, items in self._sections():
            lines.append(f"{title}: {len(items) or 'none'}")
            shown = items if len(items) <= MOST_SHOWN else items[: MOST_SHOWN - 1]
            lines += [
                f"  {_motion(i) if isinstance(i, Symmetry) else i}" for i in shown
            ]
            if len(shown) < len(items):
                lines.append(f"  ... and {len(items) - len(shown)} more")
        if not self.complete:
            lines.append("There may be more: L has functions with unknown relations.")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        rows = []
        for title, items in self._sections():
            rows.append(rf"&\textbf{{{title}}}")
            rows += [
                _latex_motion(i) if isinstance(i, Symmetry) else i._latex()
                for i in items[:MOST_SHOWN]
            ]
            if len(items) > MOST_SHOWN:
                rows.append(r"&\vdots")
        body = r" \\ ".join(rows)
        return rf"$\displaystyle \begin{{aligned}} {body} \end{{aligned}}$"


def _motion(symmetry: Symmetry) -> str:
    moves = [f"xi_{q} = {d}" for q, d in symmetry.xi.items()]
    if symmetry.tau != 0:
        moves.append(f"tau = {symmetry.tau}")
    return f"{symmetry.name}: {', '.join(moves)}"


def _latex_motion(symmetry: Symmetry) -> str:
    moves = [rf"\xi_{{{sp.latex(q)}}} = {sp.latex(d)}" for q, d in symmetry.xi.items()]
    if symmetry.tau != 0:
        moves.append(rf"\tau = {sp.latex(symmetry.tau)}")
    return rf"&\text{{{symmetry.name}}} && {', '.join(moves)}"


# ------------------------------------------------------------ the search


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
    into delta L = D_t B, which must reduce to zero.

    Parameters are generic: a symmetry that needs special values of them (two equal
    spring constants) appears once those values are put in.

    Args:
        lagrangian: in scalar coordinates.
        degree: of the polynomials.
        velocities: whether xi may be linear in the velocities.

    Raises:
        InvalidSymmetry: the Lagrangian has blocks, or the ansatz is too large.

    >>> import lagrangian as lg
    >>> x, y = lg.coordinates("x y")
    >>> L = lg.Lagrangian((x.dot**2 + y.dot**2) / 2, (x**2 + y**2) ** 2)
    >>> [symmetry.name for symmetry in find_symmetries(L).of_lagrangian]
    ['time translation', 'rotation']
    """
    if lagrangian.has_blocks:
        raise InvalidSymmetry(
            "`find_symmetries` needs scalar coordinates, and this Lagrangian has "
            "blocks, whose motions are no polynomials in finitely many numbers. State "
            'a symmetry of a block yourself, as in `lg.Scale("dense.kernel")`.'
        )
    n = len(lagrangian.coordinates)
    _check_size(n, degree, velocities)
    equations = Equations(lagrangian)
    monomials = _monomials(n + 1, degree)

    movers = [None, *range(n)]
    ansatz = [Unknown(i, powers) for powers in monomials for i in movers]
    operators = equations.of_lagrangian()
    solutions = equations.kernel(operators, ansatz)
    found, unverified = _verified(lagrangian, equations, ansatz, solutions)
    if velocities:
        wide = [Unknown(i, powers) for powers in monomials for i in range(n)] + [
            Unknown(i, powers, j)
            for powers in monomials
            for j in range(n)
            for i in range(n)
        ]
        points = [_without_tau(s, ansatz, wide, n) for s in solutions]
        more = _complement(equations.kernel(operators, wide), points, equations.ring)
        others = _verified(lagrangian, equations, wide, more)
        found, unverified = found + others[0], unverified + others[1]

    still = [
        Unknown(i, powers) for powers in monomials if not powers[n] for i in range(n)
    ]
    of_T, of_V = equations.of_part(equations.T), equations.of_part(equations.V)
    kinetic = equations.kernel(of_T, still)
    shared = equations.kernel([*of_T, *of_V], still)
    broken = _complement(equations.kernel(of_V, still), shared, equations.ring)

    def named(solutions: list[Solution], *energies: Any) -> tuple[Symmetry, ...]:
        symmetries = [_symmetry(equations, still, s) for s in solutions]
        for symmetry in symmetries:
            motion = _motion_of(lagrangian, symmetry)
            change = sp.Tuple(*(variation(energy, motion) for energy in energies))
            assert all(vanishes(c, equations.ring.variables) for c in change)
        return tuple(symmetries)

    return Symmetries(
        lagrangian=lagrangian,
        degree=degree,
        velocities=velocities,
        found=tuple(found),
        of_kinetic=named(kinetic, lagrangian.T),
        of_potential=named(shared + broken, lagrangian.V),
        broken_by_kinetic=named(broken, lagrangian.V),
        unverified=tuple(unverified),
        complete=equations.ring.complete,
    )


def _check_size(n: int, degree: int, velocities: bool) -> None:
    def size(degree: int) -> int:
        return (n + n * n if velocities else n + 1) * comb(n + 1 + degree, degree)

    if degree < 0:
        raise InvalidSymmetry(f"`degree` is {degree}. Pass 0 or more.")
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
    powers = (p for p in product(range(degree + 1), repeat=count) if sum(p) <= degree)
    return sorted(powers, key=lambda p: (sum(p), p[::-1]))


def _without_tau(
    solution: Solution, ansatz: list[Unknown], wide: list[Unknown], n: int
) -> Solution:
    """The same characteristic with the motion of time as K = -tau."""
    place = {unknown: k for k, unknown in enumerate(wide)}
    result = {}
    for k, value in solution.items():
        unknown = ansatz[k]
        if unknown.moves is None:
            for i in range(n):
                result[place[Unknown(i, unknown.powers, i)]] = -value
        else:
            result[place[unknown]] = value
    return result


def _complement(
    space: list[Solution], inside: list[Solution], ring: FunctionRing
) -> list[Solution]:
    """A basis of the space modulo a part of it."""
    taken = echelon(inside, ring)
    pivots = {min(vector): vector for vector in taken}
    rest = []
    for vector in space:
        left = dict(vector)
        for pivot, other in pivots.items():
            if factor := left.get(pivot):
                for k, value in other.items():
                    left[k] = left.get(k, ring.field.zero) - factor * value
        if left := {k: value for k, value in left.items() if value}:
            rest.append(left)
    return echelon(rest, ring)


def _verified(
    lagrangian: Lagrangian,
    equations: Equations,
    ansatz: list[Unknown],
    solutions: list[Solution],
) -> tuple[list[FoundSymmetry], list[Symmetry]]:
    found, unverified = [], []
    for solution in solutions:
        symmetry = _symmetry(equations, ansatz, solution)
        xi, tau, L = symmetry.xi, symmetry.tau, lagrangian.expression
        change = variation(L, _motion_of(lagrangian, symmetry))
        change += L * total_derivative(tau)
        boundary = boundary_term(change)
        if boundary is None:
            unverified.append(symmetry)
            continue
        # Written as the factor times what it multiplies.
        factor = sp.exp(lagrangian.damping)
        bare = sp.expand_mul(boundary / factor)
        charge = sp.Add(*(lagrangian.momenta[q] * d for q, d in xi.items()))
        charge = sp.expand_mul(charge - tau * lagrangian.energy - bare)
        found.append(FoundSymmetry(symmetry, factor * bare, factor * charge))
    return found, unverified


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
    name = _name(xi, tau, equations.velocities)
    if name == "time translation":
        return Symmetry({}, tau=-1, name=name)  # so that its charge is +E
    if name == "rotation" and next(iter(xi.values())).could_extract_minus_sign() is False:
        xi = {c: -d for c, d in xi.items()}  # x p_y - y p_x
    return Symmetry(xi, tau, name)


def _integral(solution: Solution, ring: FunctionRing) -> dict[int, Any]:
    """Without denominators and common factors, and with a positive lead."""
    values = {k: ring.value(solution[k]) for k in sorted(solution)}
    parts = list(values.values())
    below = reduce(sp.lcm, (sp.fraction(sp.together(v))[1] for v in parts), sp.S.One)
    parts = [sp.expand(sp.cancel(v * below)) for v in parts]
    common = reduce(sp.gcd, parts)
    parts = [sp.expand(sp.cancel(v / common)) for v in parts]
    if parts[0].could_extract_minus_sign():
        parts = [-v for v in parts]
    return dict(zip(values, parts, strict=True))


def _name(xi: dict[Any, Any], tau: Any, velocities: Sequence[Any]) -> str:
    """What the generator is usually called."""
    moved = {c: d for c, d in xi.items() if d != 0}
    if any(d.has(*velocities) for d in moved.values()):
        return "velocity-dependent"
    if not moved and not tau.free_symbols & {time, *xi}:
        return "time translation" if tau.is_number else "symmetry"
    scales = {d / c for c, d in moved.items()}
    if tau == 0:
        if all(d.is_number for d in moved.values()):
            return "translation"
        if all((d / time).is_number for d in moved.values()):
            return "Galilean boost"
        if len(moved) == 2:
            (a, b), (c, d) = moved.items()
            if b in (c, -c) and d == -a * (b / c):
                return "rotation"
        if all(s.is_number for s in scales):
            return "scale" if len(scales) == 1 else "rescale"
    if len(scales) == 1:
        (scale,) = scales
        if scale.is_number and (tau / time).is_number:
            return "dilation"
        if (scale / time).is_number and tau == scale * time:
            return "expansion"
    return "symmetry"
