"""Numbers of elements in a program: what tells a mean from half a sum.

Of two elements they are the same program; of three they are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from lagrangian.learning.rules.read.exact_numbers import exact
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol


def counts_of(small: Jaxpr, larger: Jaxpr, few: int) -> dict[tuple[int, int], Any]:
    """The literals of a program that count elements, in the symbols of `elements`.

    Args:
        small: the program for arrays of `few` elements an axis.
        larger: the same for arrays of one more.
        few: how many.

    Returns:
        What each is, such as 1/N_4, by the `id` of its equation in `small` and its
        place among the arguments there.
    """
    here, there = _literals(small), _literals(larger)
    if len(here) != len(there):
        return {}
    found = {}
    for (place, number), (_, other) in zip(here, there, strict=True):
        if number.val == other.val or not number.val * other.val > 0:
            continue
        power = np.log(float(other.val / number.val)) / np.log(1 + 1 / few)
        axes = round(power)  # of a matrix two
        if axes and abs(power - axes) < 1e-4:
            size, sign = few ** abs(axes), 1 if axes > 0 else -1
            factor = exact(number.val) / sp.Integer(size) ** sign
            found[place] = factor * elements(size) ** sign
    return found


def elements(size: int) -> Any:
    """The symbol of a number of elements that is `size` in what is traced."""
    return EngineSymbol(f"N_{size}", positive=True)


def sizes(counts: Mapping[Any, Any]) -> dict[Any, Any]:
    """What the symbols in `counts` are in what is traced."""
    symbols = {n for count in counts.values() for n in count.free_symbols}
    return {n: sp.Integer(n.name.removeprefix("N_")) for n in symbols}


def _literals(jaxpr: Jaxpr) -> list[tuple[tuple[int, int], Any]]:
    """The real numbers that a program has written in it, and where."""
    found = []
    for equation in jaxpr.eqns:
        for i, x in enumerate(equation.invars):
            if _is_real_number(x):
                found.append(((id(equation), i), x))
        for part in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(part):
                found += _literals(getattr(part, "jaxpr", part))
    return found


def _is_real_number(x: Any) -> bool:
    if not isinstance(x, Literal) or np.ndim(x.val):
        return False
    return bool(jnp.issubdtype(jnp.result_type(x.val), jnp.floating))


def _is_jaxpr(part: Any) -> bool:
    return isinstance(part, ClosedJaxpr | Jaxpr)
