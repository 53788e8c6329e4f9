"""The number that somebody wrote, from the float that it has become."""

from __future__ import annotations

import math
from functools import lru_cache
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
    number: Any = np.asarray(value)[()]
    return _exact(number)


@lru_cache(maxsize=1024, typed=True)  # 1 is equal to True
def _exact(number: Any) -> Any:
    if isinstance(number, np.bool_):
        return sp.true if number else sp.false
    if isinstance(number, np.integer):
        return sp.Integer(int(number))
    if not isinstance(number, (np.float16, np.float32, np.float64)):  # noqa: UP038
        number = np.float32(number)  # bfloat16 and its like
    if math.isnan(number):
        return sp.nan
    if math.isinf(number):
        return sp.oo if number > 0 else -sp.oo
    for named in _NAMED:
        if abs(number) == number.dtype.type(float(named)):
            return named if number > 0 else -named
    return sp.Rational(np.format_float_scientific(number, unique=True))
