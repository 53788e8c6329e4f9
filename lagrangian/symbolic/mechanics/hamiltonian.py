"""The Legendre transform, Poisson brackets, and the reduction of cyclic coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol, engine_symbol
from lagrangian.symbolic.algebra.shown import shown, shown_latex
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian
from lagrangian.symbolic.mechanics.legendre import invert


@dataclass(frozen=True, repr=False)
class Hamiltonian(AtPrompt):
    """H(q, p, t), with the momenta as symbols of their own.

    As in Goldstein, Poole & Safko, "Classical Mechanics" (2002), 8.1, with the brackets
    of 9.5.

    Attributes:
        expression: H in the coordinates, the symbols in `momenta`, and time.
        momenta: the symbol p_q of each coordinate q, in their order.
        velocities: each velocity as a function of coordinates and momenta.
        forces: what acts on each coordinate beside H (generalised forces and Rayleigh's
            dissipation, times the damping factor), where anything does.

    >>> import lagrangian as lg
    >>> x = lg.coordinates("x")
    >>> spring = lg.Lagrangian(x.dot**2 / 2, x**2 / 2)
    >>> H = spring.hamiltonian
    >>> print(H)
    H = p_x**2/2 + x**2/2
    >>> H.bracket(x, H.momenta[x]), H.rate(x)
    (1, p_x)
    """

    expression: sp.Expr
    momenta: Mapping[Any, Any]
    velocities: Mapping[Any, Any]
    forces: Mapping[Any, Any] = field(default_factory=dict)

    @property
    def equations(self) -> list[Any]:
        """Hamilton's equations: qdot = dH/dp, then pdot = -dH/dq + forces.

        A momentum's rate is written as a symbol of its name with a dot, `pdot_x`.
        """
        rates = [
            sp.Eq(q.dot, self.expression.diff(p), evaluate=False)
            for q, p in self.momenta.items()
        ]
        forces = [
            sp.Eq(
                EngineSymbol(p.name.replace("_", "dot_", 1), real=True),
                self.forces.get(q, sp.S.Zero) - self.expression.diff(q),
                evaluate=False,
            )
            for q, p in self.momenta.items()
        ]
        return rates + forces

    def bracket(self, first: Expression, second: Expression) -> Any:
        """The Poisson bracket {f, g} = sum df/dq dg/dp - df/dp dg/dq.

        Args:
            first, second: f and g, in coordinates, `momenta` and time.

        Returns:
            An expression in the same.
        """
        first, second = sp.sympify(first), sp.sympify(second)
        return sp.Add(
            *(
                first.diff(q) * second.diff(p) - first.diff(p) * second.diff(q)
                for q, p in self.momenta.items()
            )
        )

    def rate(self, quantity: Expression) -> Any:
        """d/dt of f(q, p, t) along the motion: {f, H} + <df/dp, forces> + df/dt.

        Args:
            quantity: f, in coordinates, `momenta` and time.

        Returns:
            An expression in the same.
        """
        quantity = sp.sympify(quantity)
        return sp.Add(
            self.bracket(quantity, self.expression),
            *(quantity.diff(self.momenta[q]) * Q for q, Q in self.forces.items()),
            quantity.diff(time),
        )

    def in_momenta(self, expression: Expression) -> Any:
        """An expression in velocities, such as a charge, written in momenta.

        Args:
            expression: in coordinates, velocities and time.

        Returns:
            An expression in coordinates, `momenta` and time.
        """
        return sp.sympify(expression).xreplace(
            {q.dot: v for q, v in self.velocities.items()}
        )

    _next = "`.equations`, `.bracket(f, g)`, `.rate(f)`, `.momenta`"

    def __str__(self) -> str:
        return f"H = {shown(self.expression)}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle H = {shown_latex(self.expression)}$"


def legendre_transform(lagrangian: Lagrangian) -> Hamiltonian:
    """The Legendre transform H = <p, qdot> - L, with qdot expressed by p.

    With a damping factor, p = exp(sigma) d(T - V)/d(qdot), as in the Hamiltonian of
    Caldirola and Kanai.

    Where the momenta are not linear in the velocities, it is the branch of the inverse
    that goes through rest; H is compared with <p, qdot> - L in random states, in fifty
    digits, before it is returned.

    >>> from lagrangian.symbolic.algebra.coordinates import coordinates
    >>> x, y = coordinates("x y")
    >>> m, c = sp.symbols("m c", positive=True)
    >>> speed = sp.sqrt(x.dot**2 + y.dot**2)
    >>> print(Lagrangian(-m*c**2*sp.sqrt(1 - speed**2/c**2)).hamiltonian)
    H = c*sqrt(c**2*m**2 + p_x**2 + p_y**2)

    Raises:
        InvalidLagrangian: the momenta cannot be solved for the velocities (a
            degenerate Lagrangian, or one too intricate), or there are blocks or
            constraints.
    """
    if lagrangian.constraints.expressions:
        raise InvalidLagrangian(
            "the Legendre transform is for systems without constraints. Choose "
            "coordinates that obey them, or work with the Lagrangian."
        )
    if lagrangian.has_blocks:
        raise InvalidLagrangian(
            "the Legendre transform is for scalar coordinates; this Lagrangian has "
            "blocks. Work with its `equations` and `energy`."
        )
    factor = sp.exp(lagrangian.damping)
    momenta = {
        q: engine_symbol(f"p_{q.name}", lagrangian.names, real=True)
        for q in lagrangian.coordinates
    }
    inverse = invert(lagrangian.undamped, {q.dot: p for q, p in momenta.items()})
    inverse = inverse.at({p: p / factor for p in momenta.values()})
    forces = {
        q: factor
        * (lagrangian.forces.get(q, 0) + lagrangian.dissipative_forces[q]).xreplace(
            inverse.velocities
        )
        for q in momenta
    }
    acting = {q: Q for q, Q in forces.items() if Q != 0}
    velocities = {q: inverse.velocities[q.dot] for q in momenta}
    return Hamiltonian(factor * inverse.energy, momenta, velocities, acting)


def cyclic(lagrangian: Lagrangian) -> list[Any]:
    """The coordinates that T and V do not contain, only their velocities.

    Args:
        lagrangian: of scalar coordinates or blocks.

    Returns:
        A list, in the order of the Lagrangian's coordinates.

    >>> import lagrangian as lg
    >>> r, phi = lg.coordinates("r phi")
    >>> lg.cyclic(lg.Lagrangian((r.dot**2 + r**2 * phi.dot**2) / 2, -1 / r))
    [phi]
    """
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

    Generalised forces and dissipation of the coordinates that remain act as before.

    Returns:
        A `Lagrangian` of the other coordinates, undamped.

    Raises:
        InvalidLagrangian: a coordinate that is not cyclic; a momentum that a damping,
            a force, dissipation or a constraint keeps from being constant; or momenta
            that cannot be solved for the velocities.

    >>> import lagrangian as lg
    >>> import sympy as sp
    >>> r, phi = lg.coordinates("r phi")
    >>> J = sp.Symbol("J")
    >>> kepler = lg.Lagrangian((r.dot**2 + r**2 * phi.dot**2) / 2, -1 / r)
    >>> lg.routh(kepler, {phi: J}).V
    J**2/(2*r**2) - 1/r
    """
    free = cyclic(lagrangian)
    if stray := [q for q in momenta if q not in free]:
        raise InvalidLagrangian(
            f"`{stray[0]}` is not cyclic: `T` or `V` contains it. Cyclic are: "
            f"{', '.join(f'`{q}`' for q in free) or 'none'}. Pass momenta of those "
            "alone."
        )
    _check_constant(lagrangian, momenta)
    remaining = [q for q in lagrangian.coordinates if q not in momenta]
    if not remaining:
        raise InvalidLagrangian(
            "`momenta` has every coordinate, so that nothing is left to move. Read the "
            "velocities of `hamiltonian`."
        )
    symbols = {q: EngineSymbol(f"p_{q.name}", real=True) for q in momenta}
    inverse = invert(lagrangian.undamped, {q.dot: p for q, p in symbols.items()})
    inverse = inverse.at({symbols[q]: sp.sympify(p) for q, p in momenta.items()})
    replaced, reduced = inverse.velocities, sp.expand(-inverse.energy)
    potential = -reduced.xreplace({q.dot: 0 for q in remaining})
    return Lagrangian(
        reduced + potential,
        potential,
        forces={q: Q.xreplace(replaced) for q, Q in lagrangian.forces.items()},
        dissipation=lagrangian.dissipation,
        coordinates=remaining,
    )


def _check_constant(lagrangian: Lagrangian, momenta: Mapping[Any, Any]) -> None:
    """Raise if something beside T and V moves the momenta, or knows the coordinates."""
    if lagrangian.damping != 0:
        raise InvalidLagrangian(
            "a damped Lagrangian has no constant momenta to reduce by. Leave out "
            "`damping`."
        )
    if lagrangian.constraints.expressions:
        raise InvalidLagrangian(
            "the forces of constraints move the momenta. Choose coordinates that obey "
            "the constraints, and reduce by those."
        )
    for q in momenta:
        acting = lagrangian.forces.get(q, 0) != 0
        if acting or lagrangian.dissipation.has(q, q.dot):
            raise InvalidLagrangian(
                f"a force or dissipation acts on `{q}`: its momentum is not constant. "
                "Leave it out of `momenta`."
            )
        if any(Q.has(q) for Q in lagrangian.forces.values()):
            raise InvalidLagrangian(
                f"a force depends on `{q}`, which the reduced system does not have. "
                "Leave it out of `momenta`."
            )
