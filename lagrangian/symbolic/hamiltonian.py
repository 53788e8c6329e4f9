"""The Legendre transform, Poisson brackets, and the reduction of cyclic coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.coordinates import time
from lagrangian.symbolic.system import Lagrangian


@dataclass(frozen=True)
class Hamiltonian:
    """H(q, p, t), with the momenta as symbols of their own.

    Attributes:
        expression: H in the coordinates, the symbols in `momenta`, and time.
        momenta: the symbol p_q of each coordinate q, in their order.
        velocities: each velocity as a function of coordinates and momenta.
    """

    expression: Any
    momenta: Mapping[Any, Any]
    velocities: Mapping[Any, Any]

    @property
    def equations(self) -> list[Any]:
        """Hamilton's equations: qdot = dH/dp, then pdot = -dH/dq.

        A momentum's rate is written as the symbol of its name with a dot.
        """
        rates = [
            sp.Eq(q.dot, self.expression.diff(p), evaluate=False)
            for q, p in self.momenta.items()
        ]
        forces = [
            sp.Eq(sp.Symbol(f"{p.name}dot"), -self.expression.diff(q), evaluate=False)
            for q, p in self.momenta.items()
        ]
        return rates + forces

    def bracket(self, first: Any, second: Any) -> Any:
        """The Poisson bracket {f, g} = sum df/dq dg/dp - df/dp dg/dq."""
        first, second = sp.sympify(first), sp.sympify(second)
        return sp.Add(
            *(
                first.diff(q) * second.diff(p) - first.diff(p) * second.diff(q)
                for q, p in self.momenta.items()
            )
        )

    def rate(self, quantity: Any) -> Any:
        """d/dt of f(q, p, t) along the motion: {f, H} + df/dt."""
        return self.bracket(quantity, self.expression) + sp.diff(quantity, time)

    def in_momenta(self, expression: Any) -> Any:
        """An expression in velocities, such as a charge, written in momenta."""
        return sp.sympify(expression).xreplace(
            {q.dot: v for q, v in self.velocities.items()}
        )

    def __str__(self) -> str:
        return f"H = {self.expression}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle H = {sp.latex(self.expression)}$"


def legendre_transform(lagrangian: Lagrangian) -> Hamiltonian:
    """The Legendre transform H = <p, qdot> - L, with qdot expressed by p.

    With a damping factor, p = exp(sigma) d(T - V)/d(qdot), as in the Hamiltonian of
    Caldirola and Kanai.

    Raises:
        InvalidLagrangian: the momenta cannot be solved for the velocities (a
            degenerate Lagrangian, or one too intricate), or there are blocks.
    """
    factor = sp.exp(lagrangian.damping)
    momenta = {q: sp.Symbol(f"p_{q.name}", real=True) for q in lagrangian.coordinates}
    scaled = {q: p / factor for q, p in momenta.items()}
    speeds = [q.dot for q in lagrangian.coordinates]
    still = dict.fromkeys(speeds, sp.S.Zero)
    if lagrangian.mass_matrix.has(*speeds):
        velocities = _solve(lagrangian, scaled)
        replaced = {q.dot: v for q, v in velocities.items()}
        energy = sp.simplify(lagrangian.energy.xreplace(replaced))
    else:
        # Quadratic: H = <p - b, M^-1 (p - b)>/2 + E at rest, b the momenta at rest.
        rest = {q: p.xreplace(still) for q, p in lagrangian.momenta.items()}
        excess = {q: scaled[q] - rest[q] for q in momenta}
        velocities = _solve_quadratic(lagrangian, excess)
        energy = lagrangian.energy.xreplace(still) + sp.factor_terms(
            sp.Add(*(excess[q] * velocities[q] for q in momenta)) / 2
        )
    return Hamiltonian(factor * energy, momenta, velocities)


def _solve_quadratic(
    lagrangian: Lagrangian, excess: Mapping[Any, Any]
) -> dict[Any, Any]:
    """The velocities M^-1 (p - b)."""
    matrix = lagrangian.mass_matrix
    if sp.simplify(matrix.det(method="berkowitz")) == 0:
        raise InvalidLagrangian(
            "the mass matrix is singular, so the momenta do not determine the "
            f"velocities: {sp.sstr(matrix)}. The Lagrangian is degenerate."
        )
    solution = matrix.LUsolve(sp.Matrix(list(excess.values())))
    return {q: sp.cancel(v) for q, v in zip(excess, solution, strict=True)}


def _solve(lagrangian: Lagrangian, scaled: Mapping[Any, Any]) -> dict[Any, Any]:
    """The velocities of a kinetic energy that is not quadratic, by SymPy's `solve`."""
    momenta = lagrangian.momenta
    equations = [momenta[q] - p for q, p in scaled.items()]
    speeds = [q.dot for q in momenta]
    for found in sp.solve(equations, speeds, dict=True):
        # A square root that `solve` took may have lost the sign.
        if len(found) == len(speeds) and all(
            sp.simplify(e.xreplace(found)) == 0 for e in equations
        ):
            return {q: found[q.dot] for q in momenta}
    raise InvalidLagrangian(
        "the momenta could not be solved for the velocities: "
        f"{[sp.sstr(e) for e in equations]}. Give `T` a form that SymPy's `solve` "
        "inverts, or work with the Lagrangian."
    )


def cyclic(lagrangian: Lagrangian) -> list[Any]:
    """The coordinates that T and V do not contain, only their velocities."""
    return [
        q
        for q in lagrangian.coordinates
        if not lagrangian.T.has(q) and not lagrangian.V.has(q)
    ]


def routh(lagrangian: Lagrangian, momenta: Mapping[Any, Any]) -> Lagrangian:
    """The reduced Lagrangian R = L - sum p qdot without the given cyclic coordinates.

    Args:
        lagrangian: an undamped Lagrangian.
        momenta: for each coordinate to remove, the constant value of its momentum.

    Raises:
        InvalidLagrangian: a coordinate that is not cyclic, or a damping (under which
            the momenta are not constant).
    """
    free = cyclic(lagrangian)
    if stray := [q for q in momenta if q not in free]:
        raise InvalidLagrangian(
            f"`{stray[0]}` is not cyclic: `T` or `V` contains it. Cyclic are: "
            f"{', '.join(f'`{q}`' for q in free) or 'none'}."
        )
    if lagrangian.damping != 0:
        raise InvalidLagrangian(
            "a damped Lagrangian has no constant momenta to reduce by. Leave out "
            "`damping`."
        )
    speeds = [q.dot for q in momenta]
    matrix = sp.Matrix(
        [[lagrangian.momenta[q].diff(v) for v in speeds] for q in momenta]
    )
    still = dict.fromkeys(speeds, 0)
    right = [
        value - lagrangian.momenta[q].xreplace(still) for q, value in momenta.items()
    ]
    solution = matrix.LUsolve(sp.Matrix(right))
    replaced = {v: sp.cancel(x) for v, x in zip(speeds, solution, strict=True)}
    reduced = lagrangian.undamped - sp.Add(
        *(value * q.dot for q, value in momenta.items())
    )
    reduced = sp.expand(reduced.xreplace(replaced))
    remaining = [q for q in lagrangian.coordinates if q not in momenta]
    potential = -reduced.xreplace({q.dot: 0 for q in remaining})
    return Lagrangian(reduced + potential, potential, coordinates=remaining)
