"""What users write as expressions, and the mistakes in it that are certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.algebra.coordinates import Coordinate, time
from lagrangian.symbolic.algebra.expressions import distinct_nodes


def written(value: Any, what: str, error: type[Exception] = InvalidLagrangian) -> Any:
    """A number or a SymPy expression, as a SymPy expression.

    Raises:
        error: text, which is never evaluated, or anything else.
    """
    if isinstance(value, str):
        raise error(
            f"`{what}` is the text {value!r}, which is not evaluated. Write it in "
            "symbols, those of `lg.coordinates` and of `sympy.symbols`."
        )
    try:
        expression = sp.sympify(value, strict=True)
    except sp.SympifyError:
        expression = None
    if not isinstance(expression, sp.Expr) or expression.is_Matrix:
        raise error(
            f"`{what}` is of type {type(value).__name__}; expected a number or a SymPy "
            "expression."
        )
    return expression


def listed(values: Any, what: str) -> tuple[Any, ...]:
    """Several expressions or coordinates, which one alone is not.

    Raises:
        InvalidLagrangian: one alone, or text.
    """
    if isinstance(values, str | sp.Basic) or not isinstance(values, Iterable):
        raise InvalidLagrangian(
            f"`{what}` is {values!r}; expected a list, such as `{what}=[...]`."
        )
    return tuple(values)


def check_lookalikes(
    expressions: Mapping[str, Any], coordinates: Sequence[Any]
) -> None:
    """Raise if something is not the coordinate, or time, whose name it has.

    It would count as a constant.

    Raises:
        InvalidLagrangian: two coordinates, a symbol or a function of one name, or an
            unevaluated derivative by time.
    """
    names: dict[str, Any] = {time.name: time}
    for q in coordinates:
        if names.setdefault(q.name, q) != q:
            raise InvalidLagrangian(
                f"two different coordinates are called `{q.name}`, or one is called as "
                "`lg.time`. Give each a name of its own, and make it once."
            )
    for what, expression in expressions.items():
        for node in distinct_nodes(expression):
            if isinstance(node, sp.Derivative):
                inside = node.expr.atoms(Coordinate)
                if time in node.variables and inside:
                    raise InvalidLagrangian(
                        f"`{what}` contains {node}, which nothing evaluates. Write "
                        f"`{min(map(str, inside))}.dot`, or `lg.total_derivative`."
                    )
                continue
            if isinstance(node, AppliedUndef):
                name = node.func.__name__
            elif type(node) is sp.Symbol:
                name = node.name
            else:
                continue
            if name in names and node != names[name]:
                meant = (
                    "`lg.time`" if names[name] == time else f"the coordinate `{name}`"
                )
                raise InvalidLagrangian(
                    f"`{what}` contains {node}, which is not {meant} and would count "
                    f"as a constant. Use {meant}, or another name."
                )
