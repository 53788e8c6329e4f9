"""Generalised coordinates: SymPy symbols that carry their time derivatives.

A coordinate is a jet: `q`, `q.dot` and `q.ddot` are three independent symbols.
Differentiating by symbols is several times faster in SymPy than differentiating by
functions of time, and leaves no `Derivative` objects to clean away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy as sp
from sympy.core.cache import cacheit
from sympy.printing.pretty.stringpict import prettyForm

from lagrangian.symbolic.algebra.expressions import distinct_nodes
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol, OwnSymbol

#: Time, the one symbol by which `total_derivative` differentiates explicitly.
time = EngineSymbol("t", real=True)

#: What sums, real multiples and limits keep, and so a derivative has from its function.
_INHERITED = ("real", "extended_real", "complex", "hermitian", "antihermitian")

#: With one of these a coordinate says itself whether it is real.
_KINDS = {*_INHERITED, "imaginary"}


class Coordinate(OwnSymbol):
    """A scalar generalised coordinate, or one of its time derivatives.

    Made by `coordinates`. `q.dot` is its velocity and `q.ddot` its acceleration;
    `q.order` counts the dots and `q.base` is the coordinate without them. Of the
    assumptions a derivative has only those that derivatives keep: a positive coordinate
    may shrink, and one that is an integer for all time does not move.

    Args:
        name: of the coordinate itself, without dots.
        order: how many dots.
        assumptions: as `sympy.Symbol` takes them; real unless they say otherwise.

    `name` is an identifier of its own for each derivative (`q_dot`), by which code
    printers tell them apart, and `srepr` writes this constructor:

    >>> r = coordinates("r", positive=True)
    >>> r.dot.is_positive, sp.pycode(r + 2*r.dot), sp.srepr(r.dot)
    (None, 'r + 2*r_dot', "Coordinate('r', 1, positive=True, real=True)")
    """

    # Coordinates of one name but of different order or class must not compare equal.
    __slots__ = ("base", "order")
    order: int
    base: Any  #: the coordinate whose `order`-th time derivative this symbol is

    def __new__(cls, name: str, order: int = 0, **assumptions: Any) -> Coordinate:
        return _make(cls, name, order, (), _settled(assumptions))

    @classmethod
    def _build(cls, name: str, order: int, extra: tuple, assumptions: tuple) -> Any:
        if order:
            base = _make(cls, name, 0, extra, assumptions)
            dots = f"{'d' * order}ot" if order < 4 else f"dot{order}"
            symbol = sp.Symbol.__xnew__(cls, f"{name}_{dots}", **_inherited(base))
            symbol.base = base
        else:
            symbol = sp.Symbol.__xnew__(cls, name, **dict(assumptions))
            symbol.base = symbol
        symbol.order = order
        return symbol

    def _extra(self) -> tuple:
        """What a subclass adds to the identity of the symbol."""
        return ()

    def _hashable_content(self) -> tuple:
        content = sp.Symbol._hashable_content(self.base)
        return (*content, self.order, *self._extra())

    def __getnewargs_ex__(self) -> tuple:
        base = self.base
        return (base.name, self.order, *self._extra()), base._assumptions_orig

    def _at(self, order: int) -> Any:
        assumptions = _settled(self.base._assumptions_orig)
        return _make(type(self), self.base.name, order, self._extra(), assumptions)

    @property
    def dot(self) -> Any:
        """The time derivative of this symbol, itself a symbol."""
        return self._at(self.order + 1)

    @property
    def ddot(self) -> Any:
        """The second time derivative of this symbol, itself a symbol."""
        return self._at(self.order + 2)

    @cacheit
    def sort_key(self, order: Any = None) -> tuple:
        # After the plain symbols, so that a product reads m x.dot; then by dots.
        rest = super().sort_key(order)[2:]
        name = type(self).__name__
        return (2, 1, name), (1, (self.base.name, str(self.order))), *rest

    def _mcode(self, printer: Any) -> str:
        # An underscore is a pattern in Mathematica.
        return self.base.name + self.name[len(self.base.name) :].replace("_", "$")

    def _sympystr(self, printer: Any) -> str:
        return (
            self.base.name
            + ("", ".dot", ".ddot")[min(self.order, 2)]
            + (".dot" * max(self.order - 2, 0))
        )

    def _latex(self, printer: Any) -> str:
        text = _latex_name(self.base.name, printer)
        if self.order == 0:
            return text
        if self.order > 3:
            return f"{{{text}}}^{{({self.order})}}"
        return f"\\{'d' * self.order}ot{{{text}}}"

    def _pretty(self, printer: Any) -> Any:
        return prettyForm(self._sympystr(printer))


@cache
def _make(cls: Any, name: str, order: int, extra: tuple, assumptions: tuple) -> Any:
    # One object per symbol: SymPy compares identical objects without hashing them.
    return cls._build(name, order, extra, assumptions)


def _settled(assumptions: Mapping[str, Any]) -> tuple:
    """The assumptions of a coordinate in one order: real, unless they decide that."""
    given = {k: bool(v) for k, v in assumptions.items() if v is not None}
    if not _KINDS & given.keys() and given.get("commutative", True):
        given["complex" if "real" in assumptions else "real"] = True
    return tuple(sorted(given.items()))


def _inherited(base: Any) -> dict[str, bool]:
    """The assumptions of a time derivative of `base`."""
    kept = {k: True for k in _INHERITED if getattr(base, f"is_{k}")}
    return kept if base.is_commutative else kept | {"commutative": False}


def _latex_name(name: str, printer: Any) -> str:
    """LaTeX of a plain name (`theta_1`), or upright text for a parameter path."""
    if re.search(r"[^A-Za-z0-9_]", name):
        return r"\mathrm{" + name.replace("_", r"\_") + "}"
    return printer._print(sp.Symbol(name))


def coordinates(names: str, **assumptions: Any) -> Any:
    """Scalar coordinates from names separated by spaces or commas.

    One name gives one `Coordinate`, several give a tuple, as `sympy.symbols` does,
    and ranges work as there (`"q1:4"`). All are real unless an assumption says
    otherwise.

    Args:
        names: such as `"x y"`, `"x, y"` or `"q1:4"`.
        assumptions: as `sympy.symbols` takes them, such as `positive=True`; for all.

    Returns:
        One `Coordinate`, or a tuple of them.

    >>> a, b = coordinates("a b")
    >>> a.dot**2 + b.ddot
    a.dot**2 + b.ddot
    """
    return sp.symbols(names, cls=Coordinate, **assumptions)


def jets(expression: Any, order: int | None = None) -> list[Any]:
    """The coordinates (and derivatives) in `expression`, in natural order of name.

    With `order`, only those with that many dots.
    """
    nodes = distinct_nodes(sp.sympify(expression))
    found = (node for node in nodes if isinstance(node, Coordinate))
    return sorted(
        (c for c in found if order is None or c.order == order), key=_natural_order
    )


def _natural_order(coordinate: Coordinate) -> tuple:
    return natural_order(coordinate.base.name), coordinate.order


def natural_order(name: str) -> tuple:
    """Sorts theta2 before theta10."""
    pieces = re.split(r"(\d+)", name)
    return tuple((int(p), "") if p.isdigit() else (-1, p) for p in pieces)
