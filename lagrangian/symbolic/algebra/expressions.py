"""The types of what users write, and a walk over it."""

from __future__ import annotations

from typing import Any, TypeAlias

import sympy as sp

#: A SymPy expression, or a number.
Expression: TypeAlias = sp.Expr | float
#: A coordinate or a block; a block also by its name.
Named: TypeAlias = sp.Expr | str


def distinct_nodes(expression: sp.Basic) -> list[Any]:
    """The parts of an expression, each once, however often the tree repeats it."""
    found, pending = {expression: None}, [expression]
    while pending:
        new = [part for part in pending.pop().args if part not in found]
        found |= dict.fromkeys(new)
        pending += new
    return list(found)
