"""The Lagrangian of a system, and the equations that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.matrices.exceptions import NonInvertibleMatrixError

from lagrangian.errors import InvalidLagrangian
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.calculus import (
    gradient,
    pairing,
    total_derivative,
    variation,
)
from lagrangian.symbolic.algebra.canonical import product
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import Coordinate, jets, time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.graph import (
    Graph,
    Term,
    legendre,
    shortest_sum,
    summed,
)
from lagrangian.symbolic.algebra.inputs import check_lookalikes, listed, written
from lagrangian.symbolic.algebra.shown import aligned, rows, shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.equations import solved_singly
from lagrangian.symbolic.mechanics.constraints import constrain
from lagrangian.symbolic.mechanics.parts import check_parts


class Lagrangian(AtPrompt, ByContent):
    """`L = exp(damping) (T - V)`: a kinetic energy, a potential and a damping factor.

    Its equations are those of Goldstein, Poole & Safko, "Classical Mechanics" (2002),
    1.4 and 1.5, with multipliers as in 2.4. Units are those in which T and V are
    written: the library knows none. Two that were written alike are equal; so are
    symmetries, and their laws.

    >>> from lagrangian.symbolic.algebra.coordinates import coordinates
    >>> x = coordinates("x")
    >>> Lagrangian(x.dot**2/2, x**2/2) == Lagrangian(x.dot**2/2, x**2/2)
    True

    Args:
        T: kinetic energy, a SymPy expression in coordinates, velocities and `lg.time`.
        V: potential energy; may depend on velocities (magnetic fields, rotating
            frames).
        damping: sigma(t). `mu/m * lg.time` gives the friction mu of a learning rule.
        forces: generalised forces Q by coordinate, beside those that V gives; they act
            in the equations with the damping factor divided out.
        dissipation: Rayleigh's function R of the velocities, a force -dR/d(qdot).
        constraints: expressions that are to be zero, in coordinates (holonomic) or
            linear in velocities. Each gets a multiplier, whose force is J^T lambda.
        coordinates: their order; by default all that occur, in natural order of name.

    Raises:
        InvalidLagrangian: a coordinate without inertia (its velocity is not in `T`), a
            derivative above the first, a damping that is no function of time alone,
            text, or a symbol that has the name of a coordinate or of time and is not
            it.
    """

    def __init__(
        self,
        T: Expression,
        V: Expression = 0,
        *,
        damping: Expression = 0,
        forces: Mapping[Any, Any] | None = None,
        dissipation: Expression = 0,
        constraints: Sequence[Any] = (),
        coordinates: Sequence[Coordinate] | None = None,
    ):
        self.T, self.V = written(T, "T"), written(V, "V")
        self.damping = written(damping, "damping")
        self.dissipation = written(dissipation, "dissipation")
        if forces is not None and not isinstance(forces, Mapping):
            raise InvalidLagrangian(
                f"`forces` is of type {type(forces).__name__}; expected a mapping from "
                "coordinates to forces, such as `{x: -x.dot}`."
            )
        self.forces = {q: written(Q, "forces") for q, Q in (forces or {}).items()}
        found = jets(sp.Tuple(self.T, self.V, self.dissipation, *self.forces.values()))
        self.coordinates: tuple[Any, ...] = (
            listed(coordinates, "coordinates")
            if coordinates
            else tuple(dict.fromkeys(c.base for c in found))
        )
        check_parts(self.T, self.damping, self.forces, self.coordinates, found)
        held = [written(c, "constraints") for c in listed(constraints, "constraints")]
        parts = {
            "T": self.T,
            "V": self.V,
            "damping": self.damping,
            "forces": sp.Tuple(*self.forces.values()),
            "dissipation": self.dissipation,
            "constraints": sp.Tuple(*held),
        }
        check_lookalikes(parts, self.coordinates)
        #: Names that the user gave, which no symbol of the engine's is to print as.
        symbols: set[Any] = set(sp.Tuple(*parts.values()).free_symbols)
        self.names = {s.name for s in symbols}
        self.constraints = constrain(held, self.coordinates, self.names)

    def _content(self) -> tuple[Any, ...]:
        parts = (self.T, self.V, self.damping, self.dissipation, self.coordinates)
        forces = frozenset(self.forces.items())
        return (Lagrangian, *parts, forces, self.constraints.expressions)

    _next = (
        "`.equations`, `.hamiltonian`, `lg.find_symmetries(L)`, `lg.lower(L, values)`"
    )
    _engine = frozenset(
        "names has_blocks factor variables pairing variation total_derivative on_shell "
        "saddle_point pushes graph slopes momentum_slopes".split()
    )

    @property
    def parts(self) -> dict[str, Any]:
        """What it was written from, by name, without what is zero."""
        forces = {f"force on {q}": Q for q, Q in self.forces.items()}
        held = {
            f"constraint {i}": c for i, c in enumerate(self.constraints.expressions)
        }
        rest = {"dissipation": self.dissipation, **forces, **held}
        return {"T": self.T, "V": self.V} | {n: x for n, x in rest.items() if x != 0}

    def __str__(self) -> str:
        damped = self.damping != 0
        product = f"exp({shown(self.damping)})*(T - V)" if damped else "T - V"
        return "\n".join([f"Lagrangian: L = {product}", *rows(self.parts)])

    def _repr_latex_(self) -> str:
        damped = rf"e^{{{shown_latex(self.damping)}}} \left(T - V\right)"
        names = {name: rf"\text{{{name}}}" for name in self.parts}
        names |= {f"force on {q}": f"Q_{{{sp.latex(q)}}}" for q in self.forces}
        names |= {"T": "T", "V": "V"}
        lines = [f"{names[n]} &= {shown_latex(x)}" for n, x in self.parts.items()]
        return aligned([f"L &= {'T - V' if self.damping == 0 else damped}", *lines])

    @property
    def undamped(self) -> Any:
        """T - V."""
        return self.T - self.V

    @property
    def expression(self) -> Any:
        """The Lagrangian itself, damping factor included."""
        return sp.exp(self.damping) * self.undamped

    @property
    def has_blocks(self) -> bool:
        return any(isinstance(q, Block) for q in self.coordinates)

    @cached_property
    def graph(self) -> Graph:
        return Graph(self.undamped)

    @cached_property
    def slopes(self) -> dict[Any, list[Term]]:
        """The terms of d(T - V) by every coordinate and velocity."""
        symbols = [*self.coordinates, *(q.dot for q in self.coordinates)]
        return self.graph.partials(self.undamped, symbols)

    @cached_property
    def momenta(self) -> dict[Any, Any]:
        """d(T - V)/d(velocity) by coordinate, without the damping factor."""
        if self.has_blocks:
            return {q: gradient(self.undamped, q.dot) for q in self.coordinates}
        return {q: summed(self.slopes[q.dot]) for q in self.coordinates}

    @cached_property
    def momentum_slopes(self) -> list[dict[Any, list[Term]]]:
        """For each momentum the terms of its derivatives, one sweep each.

        Of the velocities only those from its own on: the rest follows by symmetry.
        """
        velocities = [q.dot for q in self.coordinates]
        return [
            self.graph.partials(p, [*self.coordinates, *velocities[i:], time])
            for i, p in enumerate(self.momenta.values())
        ]

    @cached_property
    def pushes(self) -> dict[Any, Any]:
        """d(T - V)/dq + Q - dR/d(qdot) by coordinate: what moves the momenta."""
        return {
            q: sp.Add(
                summed(self.slopes[q]),
                self.forces.get(q, sp.S.Zero),
                self.dissipative_forces[q],
            )
            for q in self.coordinates
        }

    @cached_property
    def energy(self) -> Any:
        """<p, qdot> - (T - V), without the damping factor."""
        velocities = [q.dot for q in self.coordinates]
        if self.has_blocks:
            work = (pairing(p, q.dot) for q, p in self.momenta.items())
            return sp.Add(*work) - self.undamped
        return legendre(self.undamped, velocities)

    @cached_property
    def hamiltonian(self) -> Any:
        """Its `Hamiltonian`, by the Legendre transform.

        Raises:
            InvalidLagrangian: of blocks, under constraints, or where the momenta cannot
                be solved for the velocities.
        """
        from lagrangian.symbolic.mechanics.hamiltonian import legendre_transform

        return legendre_transform(self)

    @property
    def friction_rate(self) -> Any:
        """sigma'(t)."""
        return self.damping.diff(time)

    @cached_property
    def dissipative_forces(self) -> dict[Any, Any]:
        """-dR/d(qdot) by coordinate."""
        return {q: -gradient(self.dissipation, q.dot) for q in self.coordinates}

    @cached_property
    def constraint_forces(self) -> dict[Any, Any]:
        """J^T lambda by coordinate, in the symbols `constraints.multipliers`."""
        jacobian, multipliers = self.constraints.jacobian, self.constraints.multipliers
        return {
            q: sp.Add(*(jacobian[k, i] * x for k, x in enumerate(multipliers)))
            for i, q in enumerate(self.coordinates)
        }

    @cached_property
    def equations(self) -> list[Any]:
        """The Euler-Lagrange equations `... = 0`, one per coordinate and in its order.

        The damping factor is divided out:
        d/dt p + sigma' p - d(T - V)/dq - Q + dR/d(qdot) - J^T lambda = 0.
        """
        if self.has_blocks:
            left = [
                sp.expand_mul(total_derivative(p) + self.friction_rate * p)
                - gradient(self.undamped, q)
                - self.forces.get(q, 0)
                - self.dissipative_forces[q]
                for q, p in self.momenta.items()
            ]
        else:
            left = [
                sp.Add(
                    *(
                        product((*term, q.ddot))
                        for j, q in enumerate(self.coordinates)
                        for term in self._inertia(i, j)
                    ),
                    *(-term for term in sp.Add.make_args(force)),
                    -self.constraint_forces[q],
                )
                for i, (q, force) in enumerate(
                    zip(self.coordinates, self.forcing, strict=True)
                )
            ]
        return [sp.Eq(side, 0, evaluate=False) for side in left]

    def _inertia(self, i: int, j: int) -> list[Term]:
        """The terms of entry (i, j) of the mass matrix."""
        i, j = min(i, j), max(i, j)
        return self.momentum_slopes[i][self.coordinates[j].dot]

    @cached_property
    def mass_matrix(self) -> Any:
        """M in M qddot = forcing, the Hessian of T - V in the velocities.

        Raises:
            InvalidLagrangian: of blocks, whose equations are no matrix.
        """
        self._scalars_only("mass_matrix")
        size = len(self.coordinates)
        upper = {
            (i, j): summed(self._inertia(i, j))
            for i in range(size)
            for j in range(i, size)
        }
        return sp.Matrix(size, size, lambda i, j: upper[min(i, j), max(i, j)])

    @cached_property
    def forcing(self) -> Any:
        """The right-hand side of M qddot = forcing + J^T lambda, a column.

        Raises:
            InvalidLagrangian: as of `mass_matrix`.
        """
        self._scalars_only("forcing")
        minus = sp.S.NegativeOne
        drift: dict[Any, Term] = {q: (minus, q.dot) for q in self.coordinates}
        drift[time] = (minus,)
        rate = self.friction_rate
        rows = []
        for (q, p), slopes in zip(
            self.momenta.items(), self.momentum_slopes, strict=True
        ):
            terms = [*self.slopes[q]]
            terms += [(*term, *d) for s, d in drift.items() for term in slopes[s]]
            if rate != 0:  # SymPy would look for infinities in 0 * p
                terms += [(minus, rate, term) for term in sp.Add.make_args(p)]
            terms += [(self.forces.get(q, sp.S.Zero),), (self.dissipative_forces[q],)]
            rows.append(shortest_sum(terms))
        return sp.Matrix(rows)

    @cached_property
    def saddle_point(self) -> tuple[Any, Any]:
        """The matrix and the column whose solution is (qddot, -lambda).

        Raises:
            InvalidLagrangian: as of `mass_matrix`.
        """
        constraints = self.constraints
        if not constraints.expressions:
            return self.mass_matrix, self.forcing
        jacobian = constraints.jacobian
        empty = sp.zeros(jacobian.rows)
        matrix = sp.Matrix([[self.mass_matrix, jacobian.T], [jacobian, empty]])
        return matrix, sp.Matrix([*self.forcing, *constraints.curvature])

    @property
    def variables(self) -> tuple[Any, ...]:
        """Time alone."""
        return (time,)

    @property
    def factor(self) -> Any:
        """exp(damping), which charges and their rates leave out."""
        return sp.exp(self.damping)

    def pairing(self, symmetry: Symmetry) -> dict[Any, Any]:
        """<p, xi> - tau E, the charge."""
        return {time: sp.expand_mul(self._along(symmetry))}

    def _along(self, symmetry: Symmetry) -> Any:
        along = (pairing(self.momenta[q], d) for q, d in symmetry.xi.items())
        return sp.Add(*along) - symmetry.tau * self.energy

    def variation(self, symmetry: Symmetry) -> dict[str, Any]:
        """What moves the charge on shell, by the causes that `Law` lists."""
        xi, tau = symmetry.xi, symmetry.tau
        stretch = total_derivative(tau)
        motion: dict[Any, Any] = dict(xi)
        for q in self.coordinates:
            motion[q.dot] = total_derivative(xi.get(q, sp.S.Zero)) - q.dot * stretch

        def change(energy: Any) -> Any:
            return sp.expand_mul(variation(energy, motion) + energy * stretch)

        def power(forces: Mapping[Any, Any]) -> Any:
            parts = (
                pairing(force, xi.get(q, sp.S.Zero) - tau * q.dot)
                for q, force in forces.items()
            )
            return sp.Add(*parts)

        held = self.constraints.power([xi.get(q, 0) for q in self.coordinates], tau)
        shifted = tau if tau == 0 else tau * variation(self.undamped, {time: 1})
        damped = self.friction_rate
        if damped != 0:
            damped *= self._along(symmetry) - tau * self.undamped
        return {
            "kinetic": change(self.T),
            "potential": -change(self.V),
            "explicit time": shifted,
            "friction": sp.expand_mul(power(self.dissipative_forces) - damped),
            "forces": sp.expand_mul(power(self.forces) + held),
        }

    def total_derivative(self, variable: sp.Expr, expression: Expression) -> Any:
        return total_derivative(expression)

    def on_shell(self, expression: Expression) -> Any | None:
        """An expression with the accelerations and multipliers of the equations.

        None where they are not determined; of blocks, where an equation has the
        acceleration of another one.
        """
        multipliers = self.constraints.multipliers
        expression = sp.sympify(expression)
        if not jets(expression, order=2) and not expression.has_free(*multipliers):
            return expression
        known = self._accelerations
        return None if known is None else expression.xreplace(known)

    @cached_property
    def _accelerations(self) -> dict[Any, Any] | None:
        multipliers = self.constraints.multipliers
        unknowns = [q.ddot for q in self.coordinates]
        if self.has_blocks:
            return solved_singly([e.lhs for e in self.equations], unknowns)
        matrix, right = self.saddle_point
        try:
            solution = matrix.LUsolve(right)
        except (ValueError, NonInvertibleMatrixError):
            return None
        signs = [1] * len(unknowns) + [-1] * len(multipliers)
        numbers = (sign * x for sign, x in zip(signs, solution, strict=True))
        return dict(zip([*unknowns, *multipliers], numbers, strict=True))

    def _scalars_only(self, what: str) -> None:
        if self.has_blocks:
            raise InvalidLagrangian(
                f"`{what}` is for scalar coordinates; this Lagrangian has blocks. "
                "Read `equations` instead."
            )
