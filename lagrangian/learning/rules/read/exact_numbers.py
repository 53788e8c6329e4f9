"""The number that somebody wrote, from the float that it has become."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp

#: Numbers that are written as expressions and have a name.
_NAMED = (sp.pi, 2 * sp.pi, sp.pi / 2, sp.sqrt(2), sp.log(2), sp.E)


def exact(value: Any) -> Any:
    """The shortest decimal that rounds to a float of its dtype, as a rational.

    Integers and truth values stay as they are, infinities become SymPy's.

    >>> exact(np.float32(0.9)), exact(np.float32(1 - 0.999)), exact(np.float32(np.pi))
    (9/10, 1/1000, pi)
    """
    value = np.asarray(value)[()]
    if isinstance(value, np.bool_):
        return sp.true if value else sp.false
    if isinstance(value, np.integer):
        return sp.Integer(int(value))
    if not isinstance(value, np.float16 | np.float32 | np.float64):
        value = np.float32(value)  # bfloat16 and its like
    if math.isnan(value):
        return sp.nan
    if math.isinf(value):
        return sp.oo if value > 0 else -sp.oo
    for number in _NAMED:
        if abs(value) == value.dtype.type(float(number)):
            return number if value > 0 else -number
    return sp.Rational(np.format_float_scientific(value, unique=True))
