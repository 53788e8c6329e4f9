"""A system as the text of a spec file: what `load_spec` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from lagrangian.errors import LagrangianError
from lagrangian.systems.expression import FUNCTIONS
from lagrangian.systems.system import System

_ENDLESS = tuple(type(x) for x in (sp.oo, -sp.oo, sp.zoo, sp.nan))


def spec(system: System) -> dict[str, Any]:
    """A system as what `read_spec` reads; symbols keep their names alone.

    Raises:
        LagrangianError: an expression has a function that the grammar does not know.
    """
    L = system.lagrangian
    found: dict[str, Any] = {
        "name": system.name,
        "description": system.description,
        "coordinates": [q.name for q in L.coordinates],
        "T": written(L.T),
        "V": written(L.V),
    }
    for key, part in (("damping", L.damping), ("dissipation", L.dissipation)):
        if part != 0:
            found[key] = written(part)
    if L.constraints.expressions:
        found["constraints"] = [written(c) for c in L.constraints.expressions]
    found |= {"t": system.t, "tol": system.tol}
    if L.forces:
        found["forces"] = {q.name: written(Q) for q, Q in L.forces.items()}
    for table in ("parameters", "positions", "velocities"):
        values = getattr(system, table)
        found[table] = {symbol.name: float(x) for symbol, x in values.items()}
    return found


def toml(content: Mapping[str, Any]) -> str:
    """The text of a spec file; its tables come last.

    >>> print(toml({"T": "x.dot^2/2", "positions": {"x": 1.0}}))
    T = "x.dot^2/2"
    <BLANKLINE>
    [positions]
    x = 1.0
    <BLANKLINE>
    """
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in content.items()
        if not isinstance(value, Mapping)
    ]
    for key, table in content.items():
        if isinstance(table, Mapping) and table:
            lines += ["", f"[{key}]"]
            lines += [f"{name} = {json.dumps(x)}" for name, x in table.items()]
    return "\n".join(lines) + "\n"


def written(expression: Any) -> str:
    """An expression in the grammar of `parse_expression`.

    >>> written(abs(sp.Symbol("x")) ** 3 + sp.E)
    'abs(x)^3 + exp(1)'
    """
    if strange := expression.atoms(type(sp.I), sp.Dummy, *_ENDLESS):
        raise LagrangianError(
            f"`{strange.pop()}` cannot be written into a file. Build the system in "
            "Python, where it is needed."
        )
    return _Printer().doprint(expression)


class _Printer(StrPrinter):
    def _print_Function(self, expr: Any) -> str:
        name = expr.func.__name__
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise LagrangianError(
                f"`{name}` cannot be written into a file, whose functions are {known}. "
                "Build the system in Python, where it is needed."
            )
        return super()._print_Function(expr)

    def _print_Abs(self, expr: Any) -> str:
        return f"abs({self._print(expr.args[0])})"

    def _print_Exp1(self, expr: Any) -> str:
        return "exp(1)"

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        return super()._print_Pow(expr, rational).replace("**", "^")

    def emptyPrinter(self, expr: Any) -> str:
        raise LagrangianError(
            f"`{expr}` cannot be written into a file. Build the system in Python, "
            "where it is needed."
        )
