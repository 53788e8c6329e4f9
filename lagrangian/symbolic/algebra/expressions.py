"""The types of what users write."""

from __future__ import annotations

from typing import TypeAlias

import sympy as sp

#: A SymPy expression, or a number.
Expression: TypeAlias = sp.Expr | float
