"""The determining equations of Noether's theorem, and their exact null space."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import perm, prod
from random import Random
from typing import Any

from sympy.polys.fields import FracElement
from sympy.polys.matrices import DomainMatrix
from sympy.polys.rings import PolyElement

from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.function_ring import PRIME, FunctionRing
from lagrangian.symbolic.system import Lagrangian

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
    the accelerations and of the rest give every partial derivative of I. With
    L = e^sigma l, I = e^sigma c, M the Hessian of l in the velocities and G the rest of
    its Euler-Lagrange expressions, e^-sigma E = G - M qddot:

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
        self.ring = FunctionRing(expressions, [*self.positions, *self.velocities, time])
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


def linear_system(
    ring: FunctionRing, columns: Iterable[tuple[int, Hashable, PolyElement]]
) -> list[dict[int, Any]]:
    """The rows that say: the sum of unknown times polynomial vanishes identically.

    Args:
        ring: where the polynomials, in normal form, come from.
        columns: (number of the unknown, name of the identity, polynomial).
    """
    rows: dict[Any, dict[int, Any]] = {}
    for unknown, identity, p in columns:
        for monomial, value in ring.split(p).items():
            row = rows.setdefault((identity, monomial), {})
            row[unknown] = row[unknown] + value if unknown in row else value
    kept = ({u: v for u, v in row.items() if v} for row in rows.values())
    return [row for row in kept if row]


def null_space(
    rows: Sequence[Mapping[int, Any]], size: int, ring: FunctionRing
) -> list[dict[int, Any]]:
    """All solutions of the rows, a basis in reduced echelon form, over `ring.field`.

    Elimination modulo a prime, at random values of the parameters, tells which unknowns
    each vector of the basis involves; the vector itself is then found exactly among
    these few. The number of vectors cannot be too small, since no rank grows by
    inserting values; nor too large, since every one solves the rows. (That is tested at
    further random values here, and proved where the solution is used.)
    """
    chance = Random(0)
    for _ in range(8):
        value = _sample(ring, chance)
        residues = [{u: n for u, v in row.items() if (n := value(v))} for row in rows]
        supports = _supports(residues, size)
        vectors = [_on_support(rows, residues, support, ring) for support in supports]
        basis = [vector for vector in vectors if vector is not None]
        value = _sample(ring, chance)
        if len(basis) == len(supports) and _annihilate(rows, basis, value):
            return basis
    raise ArithmeticError("eight random samples of the parameters were all special.")


def _sample(ring: FunctionRing, chance: Random) -> Callable[[Any], int]:
    """Evaluation modulo a prime at random values of the parameters."""
    point = [chance.randrange(1, PRIME) for _ in ring.constant]

    def residue(number: Any) -> int:
        return int(number.numerator) * pow(int(number.denominator), -1, PRIME) % PRIME

    def value(element: Any) -> int:
        if isinstance(element, FracElement):
            return value(element.numer) * pow(value(element.denom), -1, PRIME) % PRIME
        if not isinstance(element, PolyElement):
            return residue(element)
        return (
            sum(
                residue(number)
                * prod(pow(x, n, PRIME) for x, n in zip(point, powers, strict=True))
                for powers, number in element.items()
            )
            % PRIME
        )

    return value


def _supports(rows: Iterable[Mapping[int, int]], size: int) -> list[list[int]]:
    """The unknowns in each vector of the reduced null space modulo the prime."""
    pivots: dict[int, dict[int, int]] = {}  # by the last unknown of the row
    for row in sorted(rows, key=len):
        left = _reduced(row, pivots)
        if left:
            last = max(left)
            inverse = pow(left[last], -1, PRIME)
            pivots[last] = {u: n * inverse % PRIME for u, n in left.items()}
    supports = {u: [u] for u in range(size) if u not in pivots}
    for last in sorted(pivots):
        row = {u: n for u, n in pivots[last].items() if u != last}
        pivots[last] = {**_reduced(row, pivots), last: 1}
        for u in pivots[last]:
            if u != last:
                supports[u].append(last)
    return list(supports.values())


def _reduced(row: Mapping[int, int], pivots: Mapping[int, Mapping[int, int]]) -> dict:
    """The row without the unknowns that the pivots stand for."""
    left, done = dict(row), {}
    while left:
        last = max(left)
        factor = left[last]
        if last not in pivots:
            done[last] = left.pop(last)
            continue
        for u, n in pivots[last].items():
            left[u] = (left.get(u, 0) - factor * n) % PRIME
            if not left[u]:
                del left[u]
    return done


def _on_support(
    rows: Sequence[Mapping[int, Any]],
    residues: Sequence[Mapping[int, int]],
    support: list[int],
    ring: FunctionRing,
) -> dict[int, Any] | None:
    """The one solution in these unknowns, if there is exactly one, with a leading 1."""
    lift = ring.field.field.new if ring.constant else ring.field.convert
    place = {u: i for i, u in enumerate(support)}
    pivots: dict[int, dict[int, int]] = {}
    elements = {}
    for row, values in zip(rows, residues, strict=True):
        left = _reduced({u: n for u, n in values.items() if u in place}, pivots)
        if left:
            last = max(left)
            inverse = pow(left[last], -1, PRIME)
            pivots[last] = {u: n * inverse % PRIME for u, n in left.items()}
            elements[len(elements)] = {
                place[u]: lift(v) for u, v in row.items() if u in place
            }
    if len(elements) != len(support) - 1:
        return None
    if not elements:
        return {support[0]: ring.field.one}
    matrix = DomainMatrix(elements, (len(elements), len(support)), ring.field)
    (kernel,) = matrix.nullspace().rep.values()
    if 0 not in kernel:
        return None
    return {support[i]: v / kernel[0] for i, v in kernel.items()}


def _annihilate(
    rows: Iterable[Mapping[int, Any]],
    vectors: Sequence[Mapping[int, Any]],
    value: Callable[[Any], int],
) -> bool:
    numbers = [{u: value(v) for u, v in vector.items()} for vector in vectors]
    for row in rows:
        residues = {u: value(v) for u, v in row.items()}
        for vector in numbers:
            if sum(n * vector.get(u, 0) for u, n in residues.items()) % PRIME:
                return False
    return True


def echelon(vectors: Sequence[Mapping[int, Any]], ring: FunctionRing) -> list[dict]:
    """The reduced row echelon form of sparse vectors."""
    if not vectors:
        return []
    names = sorted({u for vector in vectors for u in vector})
    place = {u: i for i, u in enumerate(names)}
    elements = {
        i: {place[u]: v for u, v in vector.items()} for i, vector in enumerate(vectors)
    }
    matrix = DomainMatrix(elements, (len(vectors), len(names)), ring.field)
    reduced, pivots = matrix.rref()
    return [
        {names[j]: v for j, v in reduced.rep[i].items()} for i in range(len(pivots))
    ]
