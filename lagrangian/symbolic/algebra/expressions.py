"""The types of what users write."""

from __future__ import annotations

from typing import TypeAlias

import sympy as sp

#: A SymPy expression, or a number.
Expression: TypeAlias = sp.Expr | float
#: A coordinate or a block; a block also by its name.
Named: TypeAlias = sp.Expr | str
