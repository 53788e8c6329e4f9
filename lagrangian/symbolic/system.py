"""The Lagrangian of a system, and the equations that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.blocks import Block
from lagrangian.symbolic.calculus import (
    gradient,
    pairing,
    total_derivative,
    variation,
)
from lagrangian.symbolic.coordinates import Coordinate, jets, time


class Lagrangian:
    """`L = exp(damping) (T - V)`: a kinetic energy, a potential and a damping factor.

    Args:
        T: kinetic energy, a SymPy expression in coordinates, velocities and `lg.time`.
        V: potential energy; may depend on velocities (magnetic fields, rotating
            frames).
        damping: sigma(t). `mu/m * lg.time` gives the friction mu of a learning rule.
        coordinates: their order; by default all that occur, in natural order of name.

    Raises:
        InvalidLagrangian: a coordinate without inertia (its velocity is not in `T`), a
            derivative above the first, or a damping that is no function of time alone.
    """

    def __init__(
        self,
        T: Any,
        V: Any = 0,
        *,
        damping: Any = 0,
        coordinates: Sequence[Coordinate] | None = None,
    ):
        self.T, self.V = sp.sympify(T), sp.sympify(V)
        self.damping = sp.sympify(damping)
        found = jets(sp.Tuple(self.T, self.V))
        bases = list(dict.fromkeys(c.base for c in found))
        self.coordinates: tuple[Any, ...] = tuple(coordinates or bases)
        self._validate(found, bases)

    def _validate(self, found: list[Any], bases: list[Any]) -> None:
        if not self.coordinates:
            raise InvalidLagrangian(
                "`T` and `V` contain no coordinates. "
                'Make them with `q = lg.coordinates("q")` and use `q` and `q.dot`.'
            )
        if stray := [b for b in bases if b not in self.coordinates]:
            raise InvalidLagrangian(
                f"`coordinates` leaves out {_names(stray)}, which `T` or `V` contains."
            )
        if high := [c for c in found if c.order > 1]:
            raise InvalidLagrangian(
                f"`T` or `V` contains {_names(high)}. Only coordinates and velocities "
                "are supported; accelerations follow from the equations."
            )
        inert = [q for q in self.coordinates if not self.T.has(q.dot)]
        if inert:
            name = inert[0].name
            raise InvalidLagrangian(
                f"no inertia in {_names(inert)}: `T` does not contain "
                f"{_names([q.dot for q in inert])}. Add a kinetic term such as "
                f"`m*{name}.dot**2/2`, or, if `{name}` is a constant, make it with "
                f'`sympy.Symbol("{name}")`.'
            )
        if self.damping.free_symbols and jets(self.damping):
            raise InvalidLagrangian(
                f"`damping` is {self.damping}, which depends on coordinates. "
                "Pass a function of `lg.time` and parameters."
            )

    def __repr__(self) -> str:
        factor = "" if self.damping == 0 else f"exp({self.damping})*"
        return f"Lagrangian: L = {factor}[({self.T}) - ({self.V})]"

    def _repr_latex_(self) -> str:
        factor = "" if self.damping == 0 else f"e^{{{sp.latex(self.damping)}}}"
        return (
            rf"$\displaystyle L = {factor}\left[{sp.latex(self.T)}"
            rf" - \left({sp.latex(self.V)}\right)\right]$"
        )

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
    def momenta(self) -> dict[Any, Any]:
        """d(T - V)/d(velocity) by coordinate, without the damping factor."""
        return {q: gradient(self.undamped, q.dot) for q in self.coordinates}

    @cached_property
    def energy(self) -> Any:
        """<p, qdot> - (T - V), without the damping factor."""
        work = (pairing(p, q.dot) for q, p in self.momenta.items())
        return sp.Add(*work) - self.undamped

    @property
    def friction_rate(self) -> Any:
        """sigma'(t)."""
        return self.damping.diff(time)

    @cached_property
    def equations(self) -> list[Any]:
        """The Euler-Lagrange equations `... = 0`, one per coordinate and in its order.

        The damping factor is divided out: d/dt p + sigma' p - d(T - V)/dq = 0.
        """
        return [
            sp.Eq(
                sp.expand_mul(total_derivative(p) + self.friction_rate * p)
                - gradient(self.undamped, q),
                0,
                evaluate=False,
            )
            for q, p in self.momenta.items()
        ]

    @cached_property
    def mass_matrix(self) -> Any:
        """M in M qddot = forcing, the Hessian of T - V in the velocities."""
        self._scalars_only("mass_matrix")
        return sp.Matrix(
            [
                [variation(p, {q.dot: 1}) for q in self.coordinates]
                for p in self.momenta.values()
            ]
        )

    @cached_property
    def forcing(self) -> Any:
        """The right-hand side of M qddot = forcing, a column."""
        self._scalars_only("forcing")
        drift: dict[Any, Any] = {q: q.dot for q in self.coordinates} | {time: 1}
        return sp.Matrix(
            [
                gradient(self.undamped, q)
                - variation(p, drift)
                - self.friction_rate * p
                for q, p in self.momenta.items()
            ]
        )

    def _scalars_only(self, what: str) -> None:
        if self.has_blocks:
            raise InvalidLagrangian(
                f"`{what}` is for scalar coordinates; this Lagrangian has blocks. "
                "Read `equations` instead."
            )


def _names(symbols: Sequence[Any]) -> str:
    return ", ".join(f"`{s}`" for s in symbols)
