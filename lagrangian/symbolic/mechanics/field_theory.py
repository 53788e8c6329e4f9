"""Lagrangian densities of classical fields: equations, currents, stress-energy."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.prompt import AtPrompt
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.fields import (
    Field,
    algebraic,
    certainly_differ,
    conjugate,
    divergence,
    in_real_parts,
    total,
)
from lagrangian.symbolic.algebra.inputs import written
from lagrangian.symbolic.algebra.shown import shown, shown_latex
from lagrangian.symbolic.algebra.symmetry import Symmetry
from lagrangian.symbolic.exact.equations import reduced, solved


class FieldTheory(AtPrompt, ByContent):
    """A Lagrangian density in fields, their first derivatives and the variables.

    `fields` has each complex field before its conjugate; the two are varied
    independently, so that psi gives the equation of its conjugate. Parameters count as
    real. Equations and tensor are those of Goldstein, Poole & Safko, "Classical
    Mechanics" (2002), 13.2 and 13.3.

    Args:
        density: in fields of `lg.fields`, their first derivatives `phi.d("t")`, and
            the variables.

    Raises:
        InvalidLagrangian: no field, fields over different variables, a derivative
            above the first, a symbol that has the name of a variable and is not it, or
            complex fields whose equations are no conjugates.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> wave = lg.FieldTheory((phi.d("t") ** 2 - phi.d("x") ** 2) / 2)
    >>> wave.equations
    [Eq(phi_tt - phi_xx, 0)]
    """

    def __init__(self, density: Expression):
        self.density = algebraic(written(density, "density"))
        found = sorted(
            {part for f in self.density.atoms(Field) for part in (f, f.conjugate())},
            key=lambda f: (f.base_name, f.conjugated, f.index),
        )
        if not found:
            raise InvalidLagrangian(
                "the density contains no field. "
                'Make one with `phi = lg.fields("phi", over="t x")`.'
            )
        if high := [f for f in found if len(f.index) > 1]:
            raise InvalidLagrangian(
                f"the density contains `{high[0]}`, above the first derivative. "
                "Integrate it by parts."
            )
        if len({f.over for f in found}) > 1:
            raise InvalidLagrangian(
                "the fields of a density must be over the same variables; got "
                f"{sorted({str(f.over) for f in found})}."
                ' Make them by one call: `lg.fields("phi psi", over="t x")`.'
            )
        known = {v.name: v for v in found[0].over}
        for s in sorted(self.density.free_symbols, key=str):
            if type(s) is sp.Symbol and known.get(s.name, s) != s:
                raise InvalidLagrangian(
                    f"the density contains {s}, which is not the variable `{s}` of its "
                    "fields and would count as a constant. Use that of `phi.over` "
                    "(`lg.time` is `t`), or another name."
                )
        self.fields = tuple(dict.fromkeys(f.base for f in found))
        self.variables = found[0].over
        self._check_real()

    def _content(self) -> tuple[Any, ...]:
        return FieldTheory, self.density

    _next = (
        "`.equations`, `.stress_energy`, `lg.noether(theory, symmetry)`, "
        "`lg.lower(theory, values, interval=..., points=...)`"
    )
    _engine = frozenset(
        "coordinates factor variables pairing variation total_derivative on_shell "
        "real_form".split()
    )

    def __str__(self) -> str:
        return f"FieldTheory: L = {shown(self.density)}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle \mathcal{{L}} = {shown_latex(self.density)}$"

    def _check_real(self) -> None:
        """The action is real exactly if the equations come in conjugate pairs."""
        sides = {
            phi: equation.lhs
            for phi, equation in zip(self.fields, self.equations, strict=True)
            if not all(f.is_real for f in self.fields)
        }
        for phi, side in sides.items():
            if certainly_differ(conjugate(side), sides[phi.conjugate()]):
                raise InvalidLagrangian(
                    f"the action is not real: varying `{phi}` and `{phi.conjugate()}` "
                    "gives equations that are not each other's conjugates. Write a "
                    f"real density, such as `{phi.name}*{phi.name}.conjugate()`."
                )

    @cached_property
    def real_form(self) -> FieldTheory:
        """The same theory in the real and imaginary parts of its complex fields."""
        return FieldTheory(in_real_parts(self.density))

    def _slope(self, symbol: Any) -> Any:
        return variation(self.density, {symbol: sp.S.One})

    def _flow(self, phi: Any) -> dict[Any, Any]:
        """dL/d(d_mu phi) by variable."""
        return {v: self._slope(phi.d(v)) for v in self.variables}

    @cached_property
    def equations(self) -> list[Any]:
        """D_mu dL/d(d_mu phi) - dL/dphi = 0, one per field and in their order."""
        return [
            sp.Eq(
                sp.expand(divergence(self._flow(phi)) - self._slope(phi)),
                0,
                evaluate=False,
            )
            for phi in self.fields
        ]

    @cached_property
    def _accelerations(self) -> tuple[Any, dict[Any, Any]] | None:
        """A variable, and the second derivatives along it that the equations give.

        None if they give those of some field along no variable. Values of the fields
        and of their first derivatives along it are free on a surface across it then.
        """
        for v in sorted(self.variables, key=lambda v: v != time):
            left = sp.Matrix([equation.lhs for equation in self.equations])
            found = solved(left, [phi.d(v, v) for phi in self.fields])
            if found is not None:
                return v, found
        return None

    def on_shell(self, expression: Expression) -> Any | None:
        """An expression in what the equations leave free, or None if that is open.

        Second derivatives along time (or another variable) are those of the equations.
        It is open for a degenerate density, such as one of the first order, whose
        equations bind first derivatives as well.
        """
        if self._accelerations is None:
            return None
        along, seconds = self._accelerations

        def value(jet: Any) -> Any | None:
            further = [
                v for v in self.variables for _ in range(jet.index.count(v.name))
            ]
            if further.count(along) < 2:
                return None
            further.remove(along)
            further.remove(along)
            known = seconds[jet.base.d(along, along)]
            for v in further:
                known = total(v, known)
            return known

        return reduced(expression, value)

    @cached_property
    def momenta(self) -> dict[Any, Any]:
        """dL/d(d_t phi) by field, for fields over time."""
        return {phi: self._slope(phi.d(time)) for phi in self.fields}

    @cached_property
    def energy_density(self) -> Any:
        """T^t_t, for fields over time."""
        work = (p * phi.d(time) for phi, p in self.momenta.items())
        return sp.Add(*work) - self.density

    @cached_property
    def stress_energy(self) -> Any:
        """The canonical tensor T^mu_nu = sum dL/d(d_mu phi) d_nu phi - delta L.

        A matrix over `variables`; with time among them, T^t_t is the energy density.
        """
        flows = {phi: self._flow(phi) for phi in self.fields}
        return sp.Matrix(
            [
                [
                    sp.Add(*(flow[mu] * phi.d(nu) for phi, flow in flows.items()))
                    - (self.density if mu == nu else 0)
                    for nu in self.variables
                ]
                for mu in self.variables
            ]
        )

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """The fields."""
        return self.fields

    @property
    def factor(self) -> Any:
        return sp.S.One

    def pairing(self, symmetry: Symmetry) -> dict[Any, Any]:
        """J^mu = sum dL/d(d_mu phi) eta + tau^mu L with eta = xi - tau^nu d_nu phi.

        tau = -1 along t gives the energy current T^mu_t.
        """
        components = self._carried(symmetry)
        for phi in self.fields:
            eta = self._motion(phi, symmetry)
            for v, slope in self._flow(phi).items():
                components[v] += slope * eta
        return {v: sp.expand(component) for v, component in components.items()}

    def variation(self, symmetry: Symmetry) -> dict[str, Any]:
        """sum dL/dphi eta + dL/d(d_mu phi) D_mu eta + D_mu (tau^mu L)."""
        change = divergence(self._carried(symmetry))
        for phi in self.fields:
            eta = self._motion(phi, symmetry)
            change += self._slope(phi) * eta
            for v, slope in self._flow(phi).items():
                change += slope * total(v, eta)
        return {"variation": sp.expand(change)}

    def _carried(self, symmetry: Symmetry) -> dict[Any, Any]:
        """tau^mu L by variable."""
        shifts = symmetry.shifts
        return {v: shifts.get(v, sp.S.Zero) * self.density for v in self.variables}

    def _motion(self, phi: Any, symmetry: Symmetry) -> Any:
        along = (rate * phi.d(v) for v, rate in symmetry.shifts.items())
        return symmetry.xi.get(phi, sp.S.Zero) - sp.Add(*along)

    def total_derivative(self, variable: sp.Expr, expression: Expression) -> Any:
        return total(variable, expression)
