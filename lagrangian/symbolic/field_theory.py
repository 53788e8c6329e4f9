"""Classical fields: Lagrangian densities, their equations, currents and stress-energy.

A field is a jet as a coordinate is: `phi`, `phi.d("x")` and `phi.d("x", "t")` are
independent symbols. A complex field and its conjugate are two fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import sympy as sp

from lagrangian.errors import InvalidLagrangian, InvalidSymmetry, nearest
from lagrangian.symbolic.calculus import variation
from lagrangian.symbolic.coordinates import _latex_name, time


class Field(sp.Symbol):
    """A field over independent variables, or one of its partial derivatives.

    Made by `fields`. `phi.d("t", "x")` is a derivative; `phi.index` says which one, and
    `phi.over` are the independent variables, as symbols.
    """

    __slots__ = ("index", "over")
    index: tuple[str, ...]
    over: tuple[Any, ...]

    def __new__(cls, name: str, over: tuple[Any, ...], index: Any = ()) -> Any:
        return _make(cls, name, over, tuple(sorted(index)))

    def _hashable_content(self) -> tuple:
        return (*super()._hashable_content(), self.over, self.index)

    def __getnewargs_ex__(self) -> tuple:
        return (self.name, self.over, self.index), {}

    @property
    def base(self) -> Any:
        """The field whose derivative this symbol is."""
        return Field(self.name, self.over)

    def d(self, *variables: Any) -> Any:
        """The partial derivative by the named variables, in any order.

        Raises:
            InvalidLagrangian: a variable that the field does not depend on.
        """
        names = [str(v) for v in variables]
        known = [v.name for v in self.over]
        if stray := [n for n in names if n not in known]:
            raise InvalidLagrangian(
                f"`{self.name}` does not depend on `{stray[0]}`. "
                f"{nearest(stray[0], known)}"
            )
        return Field(self.name, self.over, (*self.index, *names))

    def _sympystr(self, printer: Any) -> str:
        return self.name + (f"_{''.join(self.index)}" if self.index else "")

    def _latex(self, printer: Any) -> str:
        name = _latex_name(self.name, printer)
        return rf"\partial_{{{' '.join(self.index)}}} {name}" if self.index else name


@cache
def _make(cls: Any, name: str, over: tuple[Any, ...], index: tuple[str, ...]) -> Any:
    symbol = sp.Symbol.__xnew__(cls, name, real=True)
    symbol.over, symbol.index = over, index
    return symbol


def fields(names: str, over: str) -> Any:
    """Fields from names separated by spaces or commas; one name gives one field.

    Args:
        names: of the fields.
        over: names of the independent variables; `t` is `lg.time`.

    >>> phi = fields("phi", over="t x")
    >>> phi.d("x", "t") == phi.d("t").d("x")
    True

    Raises:
        InvalidLagrangian: a variable that is named twice.
    """
    variables = over.replace(",", " ").split()
    if len(set(variables)) < len(variables):
        raise InvalidLagrangian(f"`over` names a variable twice: {over!r}.")
    symbols = tuple(
        time if v == time.name else sp.Symbol(v, real=True) for v in variables
    )
    made = [Field(name, symbols) for name in names.replace(",", " ").split()]
    return made[0] if len(made) == 1 else tuple(made)


def divergence(components: Mapping[Any, Any]) -> Any:
    """sum over mu of D_mu J^mu, D_mu the total derivative by one variable."""
    return sp.Add(*(_total(v, component) for v, component in components.items()))


def _total(variable: Any, expression: Any) -> Any:
    expression = sp.sympify(expression)
    motion = {phi: phi.d(variable) for phi in expression.atoms(Field)}
    return variation(expression, motion | {variable: sp.S.One})


@dataclass(frozen=True)
class Current:
    """A Noether current J^mu by variable, and its divergence on shell."""

    components: Mapping[Any, Any]
    divergence: Any

    @cached_property
    def is_conserved(self) -> bool | None:
        """True if the divergence reduces to zero, None if that is not decided.

        False where the divergence is a polynomial that is not zero.
        """
        reduced = sp.simplify(self.divergence)
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


class FieldTheory:
    """A Lagrangian density in fields, their first derivatives and the variables.

    Raises:
        InvalidLagrangian: no field, fields over different variables, or a derivative
            above the first.
    """

    def __init__(self, density: Any):
        self.density = sp.sympify(density)
        found = sorted(self.density.atoms(Field), key=lambda f: (f.name, f.index))
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
        self.fields = tuple(dict.fromkeys(f.base for f in found))
        self.variables = found[0].over

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
    def momenta(self) -> dict[Any, Any]:
        """dL/d(d_t phi) by field, for fields over time."""
        return {phi: self._slope(phi.d(time)) for phi in self.fields}

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
            xi: the motion of each field that moves.
            tau: the motion of each variable that moves.
            boundary: K^mu by variable, for a symmetry up to a divergence.

        Raises:
            InvalidSymmetry: a field or variable that the density does not have.
        """
        xi, tau, boundary = dict(xi or {}), dict(tau or {}), dict(boundary or {})
        for given, known in ((xi, self.fields), (tau, self.variables)):
            if stray := [s for s in given if s not in known]:
                raise InvalidSymmetry(
                    f"the generator moves `{stray[0]}`, which this theory does not "
                    f"have. It has {', '.join(f'`{k}`' for k in known)}."
                )
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
                change += slope * _total(v, eta)
        return Current(
            {v: sp.expand(component) for v, component in components.items()},
            sp.expand(change),
        )
