"""Classical fields as jets: symbols that carry their partial derivatives.

`phi`, `phi.d("x")` and `phi.d("x", "t")` are independent symbols, as the derivatives of
a coordinate are. So are a complex field and its conjugate.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy as sp
from sympy.core.cache import cacheit

from lagrangian.errors import InvalidLagrangian, nearest
from lagrangian.symbolic.algebra.calculus import variation
from lagrangian.symbolic.algebra.coordinates import _latex_name, time
from lagrangian.symbolic.algebra.own_symbols import OwnSymbol


class Field(OwnSymbol):
    """A field over independent variables, or one of its partial derivatives.

    Made by `fields`. `phi.d("t", "x")` is a derivative; `phi.index` says which one, and
    `phi.over` are the independent variables, as symbols. `psi.conjugate()` of a complex
    field is a field too, as is `sympy.conjugate(psi)`; `psi.conjugated` tells the two
    apart.

    `name` is an identifier of its own for each of them (`psi_conj_tx`), for code
    printers; that of the field as the user called it is in `base_name`.

    Args:
        name: of the field itself, without derivatives.
        over: the independent variables, as symbols.
        index: the names of the variables by which it is differentiated, in any order.
        real: whether it is a real field.
        conjugated: whether it is the conjugate of a complex one.

    >>> import lagrangian as lg
    >>> phi = lg.fields("phi", over="t x")
    >>> phi.d("t", "x"), (phi**2).diff(phi)
    (phi_tx, 2*phi)
    """

    __slots__ = ("base_name", "conjugated", "index", "over")
    base_name: str
    index: tuple[str, ...]
    over: tuple[Any, ...]
    conjugated: bool

    def __new__(
        cls,
        name: str,
        over: tuple[Any, ...],
        index: Any = (),
        *,
        real: bool = True,
        conjugated: bool = False,
    ) -> Any:
        return _make(cls, name, over, tuple(sorted(index)), real, conjugated)

    def _hashable_content(self) -> tuple:
        detail = (self.base_name, self.over, self.index, self.conjugated)
        return (*super()._hashable_content(), *detail)

    def __getnewargs_ex__(self) -> tuple:
        return (self.base_name, self.over, self.index), {
            "real": bool(self.is_real),
            "conjugated": self.conjugated,
        }

    def _at(self, index: tuple[str, ...], conjugated: bool) -> Any:
        real = bool(self.is_real)
        return Field(self.base_name, self.over, index, real=real, conjugated=conjugated)

    @property
    def base(self) -> Any:
        """The field whose derivative this symbol is."""
        return self._at((), self.conjugated)

    def _eval_conjugate(self) -> Any:
        return self if self.is_real else self._at(self.index, not self.conjugated)

    def d(self, *variables: Any) -> Any:
        """The partial derivative by the named variables, in any order.

        Args:
            variables: names, or symbols of `over`; one named twice counts twice.

        Returns:
            A `Field`.

        Raises:
            InvalidLagrangian: a variable that the field does not depend on.
        """
        names = [str(v) for v in variables]
        known = [v.name for v in self.over]
        if stray := [n for n in names if n not in known]:
            raise InvalidLagrangian(
                f"`{self.base_name}` does not depend on `{stray[0]}`. "
                f"{nearest(stray[0], known)}"
            )
        return self._at((*self.index, *names), self.conjugated)

    @cacheit
    def sort_key(self, order: Any = None) -> tuple:
        # After the plain symbols, so that a product reads m phi; then by derivatives.
        rest = super().sort_key(order)[2:]
        detail = (self.base_name, str(self.conjugated), *self.index)
        return (2, 1, type(self).__name__), (1, detail), *rest

    def _sympystr(self, printer: Any) -> str:
        text = _with_index(self.base_name, self.over, self.index)
        return f"conjugate({text})" if self.conjugated else text

    def _latex(self, printer: Any) -> str:
        name = _latex_name(self.base_name, printer)
        if self.conjugated:
            name = rf"\overline{{{name}}}"
        return rf"\partial_{{{' '.join(self.index)}}} {name}" if self.index else name


@cache
def _make(
    cls: Any,
    name: str,
    over: tuple[Any, ...],
    index: tuple[str, ...],
    real: bool,
    conjugated: bool,
) -> Any:
    assumptions = {"real": True} if real else {"complex": True}
    identifier = _with_index(name + "_conj" * conjugated, over, index)
    symbol = sp.Symbol.__xnew__(cls, identifier, **assumptions)
    symbol.base_name = name
    symbol.over, symbol.index, symbol.conjugated = over, index, conjugated
    return symbol


def _with_index(name: str, over: tuple[Any, ...], index: tuple[str, ...]) -> str:
    """As `phi_tx`, or `phi_t_x1` where a variable has a longer name."""
    between = "_" if any(len(v.name) > 1 for v in over) else ""
    return f"{name}_{between.join(index)}" if index else name


def fields(names: str, over: str, *, complex: bool = False) -> Any:
    """Fields from names separated by spaces or commas; one name gives one field.

    Args:
        names: of the fields.
        over: names of the independent variables; `t` is `lg.time`.
        complex: whether the fields are complex; then `psi.conjugate()` is varied
            independently of `psi`.

    Returns:
        One `Field`, or a tuple of them.

    >>> phi = fields("phi", over="t x")
    >>> phi.d("x", "t") == phi.d("t").d("x")
    True
    >>> psi = fields("psi", over="t x", complex=True)
    >>> psi.d("t") * psi.d("t").conjugate()
    psi_t*conjugate(psi_t)

    Raises:
        InvalidLagrangian: a variable that is named twice.
    """
    variables = over.replace(",", " ").split()
    if len(set(variables)) < len(variables):
        raise InvalidLagrangian(
            f"`over` names a variable twice: {over!r}. Name each one once."
        )
    symbols = tuple(
        time if v == time.name else sp.Symbol(v, real=True) for v in variables
    )
    made = [
        Field(name, symbols, real=not complex)
        for name in names.replace(",", " ").split()
    ]
    return made[0] if len(made) == 1 else tuple(made)


def divergence(components: Mapping[Any, Any]) -> Any:
    """sum over mu of D_mu J^mu, D_mu the total derivative by one variable."""
    return sp.Add(*(total(v, component) for v, component in components.items()))


def total(variable: Any, expression: Any) -> Any:
    """D_mu: the derivative by one variable, through all fields."""
    expression = sp.sympify(expression)
    motion = {phi: phi.d(variable) for phi in expression.atoms(Field)}
    return variation(expression, motion | {variable: sp.S.One})


def algebraic(expression: Any) -> Any:
    """Without |z|, Re z and Im z: in complex fields and their conjugates alone.

    Parameters count as real.
    """
    expression = sp.sympify(expression)
    kinds = sp.Abs | sp.re | sp.im | sp.conjugate
    return expression.replace(
        lambda e: isinstance(e, kinds), lambda e: _written_out(e, e.args[0])
    )


def _written_out(node: Any, z: Any) -> Any:
    other = conjugate(z)
    if isinstance(node, sp.conjugate):
        return other
    if isinstance(node, sp.Abs) and z != other:
        return sp.sqrt(z * other)
    if isinstance(node, sp.re):
        return (z + other) / 2
    if isinstance(node, sp.im):
        return (z - other) / (2 * sp.I)
    return node


def conjugate(expression: Any) -> Any:
    """The complex conjugate, parameters and functions of the variables being real."""
    return sp.conjugate(expression).replace(
        lambda e: isinstance(e, sp.conjugate) and not e.has(Field, sp.I),
        lambda e: e.args[0],
    )


def certainly_differ(left: Any, right: Any) -> bool:
    """Whether two expressions in complex fields differ by a polynomial."""
    difference = sp.expand(algebraic(left - right))
    return difference != 0 and bool(difference.is_polynomial())


def real_parts(psi: Any) -> tuple[Any, Any]:
    """The real fields u, v with psi = u + i v, and so for a derivative of psi."""
    # A space: no field that `fields` makes has such a name.
    names = (f"Re {psi.base_name}", f"Im {psi.base_name}")
    return tuple(Field(name, psi.over, psi.index) for name in names)


def in_real_parts(expression: Any) -> Any:
    """The real part of an expression, in the real and imaginary parts of its fields.

    Parameters count as real.
    """
    expression = algebraic(expression)
    split = {}
    for psi in expression.atoms(Field):
        if not psi.is_real:
            u, v = real_parts(psi)
            split[psi] = u - sp.I * v if psi.conjugated else u + sp.I * v
    if not split:
        return expression
    named = expression.free_symbols - expression.atoms(Field)
    stand_ins = {s: sp.Dummy(s.name, real=True) for s in named if not s.is_real}
    spread = sp.expand(expression.xreplace(stand_ins).xreplace(split))
    if spread.has(sp.I):
        spread = sp.expand(spread.as_real_imag()[0])
    return spread.xreplace({dummy: s for s, dummy in stand_ins.items()})
