"""The determining equations of Noether's theorem, and all their solutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import perm, prod
from typing import Any

from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.exact.function_ring import FunctionRing
from lagrangian.symbolic.exact.null_space import Solution, linear_system, null_space
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


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
# What it does to one of them: how often each variable differentiates, and the factor.
Derivatives = list[tuple[tuple[int, ...], Any]]


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

    @cached_property
    def constant_masses(self) -> dict[Any, Any]:
        """The mass matrix by pairs of coordinates; empty if it is not constant."""
        matrix = self.lagrangian.mass_matrix
        if matrix.has(Coordinate, time):
            return {}
        q = self.positions
        return {(a, b): matrix[i, j] for i, a in enumerate(q) for j, b in enumerate(q)}

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
            _by_coordinate(zip(o, self.ring.normal(list(o.values())), strict=True))
            for o in operators
        ]
        columns = (
            (k, e, image)
            for k, unknown in enumerate(ansatz)
            for e, operator in enumerate(normal)
            if (image := self._image(operator, unknown))
        )
        rows = linear_system(self.ring, columns)
        return null_space(rows, len(ansatz) * len(self.ring.basis), self.ring)

    def _image(self, operator: Mapping[int, Derivatives], unknown: Unknown) -> Any:
        """The operator on the characteristic of one unknown."""
        padding = (0,) * (self.ring.ring.ngens - len(self.ring.variables))
        result = self.ring.ring.zero
        for j, powers, sign in self._characteristic(unknown):
            for times, a in operator.get(j, ()):
                left = tuple(p - k for p, k in zip(powers, times, strict=True))
                if min(left) >= 0:
                    number = prod(map(perm, powers, times))
                    result += a.mul_monom(left + padding) * (sign * number)
        return result

    def _characteristic(
        self, unknown: Unknown
    ) -> list[tuple[int, tuple[int, ...], int]]:
        """Its terms by coordinate: powers of all variables, and a sign."""
        n = len(self.positions)

        def powers(factor: int | None) -> tuple[int, ...]:
            speeds = tuple(int(i == factor) for i in range(n))
            return (*unknown.powers[:n], *speeds, unknown.powers[n])

        if unknown.moves is None:
            return [(i, powers(i), -1) for i in range(n)]
        return [(unknown.moves, powers(unknown.factor), 1)]


def _by_coordinate(operator: Iterable[Any]) -> dict[int, Derivatives]:
    """What an operator does to the characteristic of each coordinate."""
    result: dict[int, Derivatives] = {}
    for (j, times), a in operator:
        result.setdefault(j, []).append((times, a))
    return result
