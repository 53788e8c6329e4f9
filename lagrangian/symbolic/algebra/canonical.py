"""Sums and products in SymPy's own form, without asking all of SymPy's rules.

`sp.Mul` and `sp.Add` look for infinities, order terms, matrices, roots of numbers and
more, and sort by walks over both arguments: tens of microseconds a product. Derivatives
of a mechanism are thousands of products of symbols, functions and sums, which need one
rule: equal bases are gathered, equal terms added up. What is anything else is left to
SymPy. Results are equal (`==`) to SymPy's, with their arguments in its order.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.basic import ordering_of_classes
from sympy.core.cache import CACHE

#: The place of a class of SymPy's in its order; all others follow, by name.
_PLACES = {name: (i, "") for i, name in enumerate(ordering_of_classes)}

#: How many expressions are remembered by each function here.
_REMEMBERED = 1 << 14


def product(factors: Iterable[Any]) -> Any:
    """`sp.Mul(*factors)`, for SymPy expressions."""
    factors = [factor for factor in factors if factor is not sp.S.One]
    if len(factors) == 1:
        return factors[0]
    coefficient: Any = sp.S.One
    powers: dict[Any, int] = {}
    pending = factors.copy()
    for factor in pending:
        if factor.is_Mul:
            pending += factor.args
        elif factor.is_Rational or factor.is_Float:
            coefficient = coefficient * factor
        elif exponent := _exponent(factor):
            base = factor.base if factor.is_Pow else factor
            powers[base] = powers.get(base, 0) + exponent
        else:
            return sp.Mul(*factors)
    if not coefficient:
        return sp.Mul(*factors)
    nodes: list[Any] = []
    for base, exponent in powers.items():
        if exponent == 1:
            nodes.append(base)
        elif exponent or base.is_Add:  # infinities hide in sums: no zeroth power
            raised = sp.Pow(base, exponent)
            if not (raised.is_Pow and raised.base == base):
                return sp.Mul(*factors)
            nodes.append(raised)
    if coefficient is not sp.S.One and len(nodes) == 1 and nodes[0].is_Add:
        return sp.Mul(*factors)  # which SymPy may multiply out
    nodes.sort(key=_order)
    if coefficient is not sp.S.One:
        nodes.insert(0, coefficient)
    return sp.Mul._from_args(nodes, True)


def total(terms: Iterable[Any]) -> Any:
    """`sp.Add(*terms)`, for SymPy expressions."""
    terms = [term for term in terms if term is not sp.S.Zero]
    if len(terms) == 1:
        return terms[0]
    constant: Any = sp.S.Zero
    # By what remains of a term without its number: its own form, while it is alone.
    found: dict[Any, tuple[Any, Any]] = {}
    pending = terms.copy()
    for term in pending:
        coefficient, rest = sp.S.One, term
        if term.is_Add:
            pending += term.args
            continue
        if term.is_Rational or term.is_Float:
            constant = constant + term
            continue
        if term.is_Mul and term.is_commutative:
            rest = term.args
            if rest[0].is_Number:
                coefficient, rest = rest[0], rest[1:]
                if len(rest) == 1:
                    (rest,) = rest
        elif not _exponent(term):
            return sp.Add(*terms)
        if rest in found:
            found[rest] = found[rest][0] + coefficient, None
        else:
            found[rest] = coefficient, term
    nodes = []
    for rest, (coefficient, alone) in found.items():
        if alone is not None:
            nodes.append(alone)
        elif coefficient:
            factors = rest if isinstance(rest, tuple) else (rest,)
            if coefficient is not sp.S.One:
                factors = (coefficient, *factors)
            nodes.append(sp.Mul._from_args(factors, True))
    nodes.sort(key=_order)
    if constant is not sp.S.Zero:
        nodes.insert(0, constant)
    return sp.Add._from_args(nodes, True)


@lru_cache(maxsize=_REMEMBERED)
def _exponent(node: Any) -> int:
    """The whole exponent of what needs no other rule; 0 of anything else."""
    base, exponent = node.args if node.is_Pow else (node, sp.S.One)
    plain = base.is_Symbol or base.is_Add or base.is_Function
    if not (plain and exponent.is_Integer and node.is_commutative is True):
        return 0
    # exp(x)**2 is exp(2 x), and a sum of numbers may be a number.
    return 0 if isinstance(base, sp.exp) or base.is_number else int(exponent)


@lru_cache(maxsize=_REMEMBERED)
def _order(node: Any) -> tuple[Any, ...]:
    """A key that sorts as `sympy.Basic.compare` does."""
    name = type(node).__name__
    place = _PLACES.get(name, (len(_PLACES), name))
    content = node._hashable_content()
    return *place, len(content), *map(_key, content)


def _key(part: Any) -> Any:
    if isinstance(part, frozenset):
        part = sp.Basic(*part)
    return _order(part) if isinstance(part, sp.Basic) else part


CACHE += [_exponent, _order]  # emptied by SymPy's `clear_cache`
