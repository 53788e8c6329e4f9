"""Lagrangian densities of classical fields: equations, currents, stress-energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.fields import (
    Field,
    algebraic,
    conjugate,
    divergence,
    in_real_parts,
    total,
)
from lagrangian.symbolic.algebra.inputs import written


@dataclass(frozen=True)
class Current:
    """A Noether current J^mu by variable, and its divergence on shell."""

    components: Mapping[Any, Any]
    divergence: Any
    theory: FieldTheory

    @cached_property
    def is_conserved(self) -> bool | None:
        """True if the divergence reduces to zero, None if that is not decided.

        False where it is a polynomial, in fields and derivatives whose values the
        equations leave free, that is not zero.
        """
        if sp.simplify(self.divergence) == 0:
            return True
        free = self.theory.on_shell(self.divergence)
        if free is None:
            return None
        reduced = sp.simplify(free)
        if reduced == 0:
            return True
        return False if reduced.is_polynomial() else None

    def __str__(self) -> str:
        rows = [f"J^{v} = {component}" for v, component in self.components.items()]
        return "\n".join([*rows, f"D J = {self.divergence}"])

    def _repr_latex_(self) -> str:
        rows = [
            rf"J^{{{sp.latex(v)}}} &= {sp.latex(c)}" for v, c in self.components.items()
        ]
        rows.append(rf"\partial_\mu J^\mu &= {sp.latex(self.divergence)}")
        body = r" \\ ".join(rows)
        return rf"$\displaystyle \begin{{aligned}} {body} \end{{aligned}}$"


class FieldTheory(ByContent):
    """A Lagrangian density in fields, their first derivatives and the variables.

    `fields` has each complex field before its conjugate; the two are varied
    independently, so that psi gives the equation of its conjugate. Parameters count as
    real.

    Raises:
        InvalidLagrangian: no field, fields over different variables, a derivative
            above the first, a symbol that has the name of a variable and is not it, or
            complex fields whose equations are no conjugates.
    """

    def __init__(self, density: Any):
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

    def __repr__(self) -> str:
        return f"FieldTheory: L = {self.density}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle \mathcal{{L}} = {sp.latex(self.density)}$"

    def _check_real(self) -> None:
        """The action is real exactly if the equations come in conjugate pairs."""
        sides = {
            phi: equation.lhs
            for phi, equation in zip(self.fields, self.equations, strict=True)
            if not all(f.is_real for f in self.fields)
        }
        for phi, side in sides.items():
            if _certainly_differ(conjugate(side), sides[phi.conjugate()]):
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
            seconds = [phi.d(v, v) for phi in self.fields]
            left = sp.Matrix([equation.lhs for equation in self.equations])
            matrix = left.jacobian(seconds)
            if sp.simplify(matrix.det(method="berkowitz")) != 0:
                rest = left.xreplace(dict.fromkeys(seconds, sp.S.Zero))
                solution = matrix.LUsolve(-rest)
                return v, dict(zip(seconds, map(sp.cancel, solution), strict=True))
        return None

    def on_shell(self, expression: Any) -> Any | None:
        """An expression in what the equations leave free, or None if that is open.

        Second derivatives along time (or another variable) are those of the equations.
        It is open for a degenerate density, such as one of the first order, whose
        equations bind first derivatives as well.
        """
        if self._accelerations is None:
            return None
        along, seconds = self._accelerations
        while bound := [
            f
            for f in sp.sympify(expression).atoms(Field)
            if f.index.count(along.name) > 1
        ]:
            known = {}
            for f in bound:
                further = list(f.index)
                further.remove(along.name)
                further.remove(along.name)
                value = seconds[f.base.d(along, along)]
                for name in further:
                    (v,) = (v for v in self.variables if v.name == name)
                    value = total(v, value)
                known[f] = value
            expression = sp.expand(expression.xreplace(known))
        return expression

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

    def noether(
        self,
        xi: Mapping[Any, Any] | None = None,
        tau: Mapping[Any, Any] | None = None,
        boundary: Mapping[Any, Any] | None = None,
    ) -> Current:
        """The current of phi -> phi + s xi, x^mu -> x^mu + s tau^mu, broken or not.

        J^mu = sum dL/d(d_mu phi) eta + tau^mu L - K^mu with eta = xi - tau^nu d_nu phi;
        its divergence on shell is the variation of L less D_mu K^mu, zero for a
        symmetry. tau = -1 along t gives the energy current T^mu_t.

        Args:
            xi: the motion of each field that moves; the conjugate of a complex field
                moves along by itself.
            tau: the motion of each variable that moves.
            boundary: K^mu by variable, for a symmetry up to a divergence.

        Raises:
            InvalidSymmetry: a field or variable that the density does not have, or a
                motion of a complex field and one of its conjugate that do not match.
        """
        for given in (xi, tau, boundary):
            if not isinstance(given, Mapping | None):
                raise InvalidSymmetry(
                    f"`noether` takes mappings, and got {given!r}. Write `{{phi: xi}}` "
                    "for the motion xi of a field phi."
                )
        xi, tau, boundary = dict(xi or {}), dict(tau or {}), dict(boundary or {})
        for given, known in (
            (xi, self.fields),
            (tau, self.variables),
            (boundary, self.variables),
        ):
            if stray := [s for s in given if s not in known]:
                raise InvalidSymmetry(
                    f"the generator moves `{stray[0]}`, which this theory does not "
                    f"have. It has {', '.join(f'`{k}`' for k in known)}."
                )
        xi = _with_conjugates(xi)
        components = {
            v: tau.get(v, sp.S.Zero) * self.density - boundary.get(v, sp.S.Zero)
            for v in self.variables
        }
        change = divergence(components)
        for phi in self.fields:
            eta = xi.get(phi, sp.S.Zero) - sp.Add(
                *(rate * phi.d(v) for v, rate in tau.items())
            )
            change += self._slope(phi) * eta
            for v, slope in self._flow(phi).items():
                components[v] += slope * eta
                change += slope * total(v, eta)
        return Current(
            {v: sp.expand(component) for v, component in components.items()},
            sp.expand(change),
            self,
        )


def _with_conjugates(xi: dict[Any, Any]) -> dict[Any, Any]:
    moved = {
        phi.conjugate(): conjugate(motion)
        for phi, motion in xi.items()
        if not phi.is_real
    }
    for phi, motion in xi.items():
        if phi in moved and _certainly_differ(motion, moved[phi]):
            raise InvalidSymmetry(
                f"the generator moves `{phi}` by {motion}, which is not the conjugate "
                f"of the motion of `{phi.conjugate()}`. Give the motion of one of them."
            )
    return moved | xi


def _certainly_differ(left: Any, right: Any) -> bool:
    difference = sp.expand(algebraic(left - right))
    return difference != 0 and bool(difference.is_polynomial())
