"""Differentiation on the shared graph of an expression, in one backward sweep.

SymPy differentiates the tree, once for each symbol. Here every distinct node is visited
once, from the result down to the symbols, with the derivative of the result by that
node in hand (its adjoint); all partial derivatives come out of one sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

from lagrangian.symbolic.algebra.coordinates import Coordinate

#: An adjoint of more terms than this is added up into one factor before it goes on,
#: which bounds the work on graphs that are far smaller than their trees.
MOST_TERMS = 128

_MINUS = (sp.S.NegativeOne,)


def partials(expression: Any, symbols: Iterable[Any]) -> dict[Any, list[Any]]:
    """The derivative of a scalar by each of the symbols, as a list of its terms.

    Terms are products that nobody has added up or expanded: `sp.Add(*terms)` is the
    derivative, and no terms mean zero.
    """
    symbols = list(symbols)
    wanted = set(symbols)
    children = _active(expression, wanted)
    adjoints: dict[Any, list[Any]] = {expression: [sp.S.One]}
    # What reaches a node through sums waits here to be added up, so that a sum which
    # is a part of many others is entered with one adjoint and not with one for each.
    through_sums: dict[Any, list[Any]] = {}
    for node in reversed(children):
        terms = adjoints.get(node, [])
        summed = through_sums.pop(node, [])
        if node in wanted:
            adjoints[node] = terms + summed
            continue
        if summed:
            terms = [*terms, _collect(summed)]
        if len(terms) > MOST_TERMS:
            terms = [sp.Add(*terms)]
        if node.is_Add:
            for argument in children[node]:
                through_sums.setdefault(argument, []).extend(terms)
            continue
        for argument, factors in _slopes(node, children[node]):
            adjoints.setdefault(argument, []).extend(
                -term if factors == _MINUS else sp.Mul(term, *factors) for term in terms
            )
    return {symbol: adjoints.get(symbol, []) for symbol in symbols}


def _active(expression: Any, wanted: set[Any]) -> dict[Any, list[Any]]:
    """The nodes that contain a wanted symbol, arguments before those that use them.

    Each comes with those arguments of it that are such nodes themselves.
    """
    active: dict[Any, list[Any]] = {}
    visited: set[Any] = set()
    pending: list[tuple[Any, bool]] = [(expression, False)]
    while pending:
        node, ready = pending.pop()
        if ready:
            if node in wanted:
                active[node] = []
            elif found := [a for a in _arguments(node, wanted) if a in active]:
                active[node] = found
        elif node not in visited:
            visited.add(node)
            pending.append((node, True))
            if node not in wanted:
                pending += [(a, False) for a in _arguments(node, wanted)]
    return active


def _arguments(node: Any, wanted: set[Any]) -> Iterable[Any]:
    return node.args if _has_rule(node) else wanted & node.free_symbols


def _has_rule(node: Any) -> bool:
    """Whether the chain rule runs over its arguments; else SymPy differentiates it."""
    if not node.args:
        return True
    if not node.is_commutative:
        return False
    if node.is_Add or node.is_Mul or node.is_Pow:
        return True
    # Piecewise, Abs, Max, integrals and others bring a derivative of their own.
    own = getattr(type(node), "_eval_derivative", None)
    return own is sp.Function._eval_derivative


def _slopes(node: Any, active: list[Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The derivative of `node` by each active argument, as factors not multiplied."""
    if not _has_rule(node):
        for symbol in active:
            yield symbol, (node.diff(symbol),)
        return
    held = set(active)
    for position, argument in enumerate(node.args):
        if argument not in held:
            continue
        if node.is_Mul:
            yield argument, node.args[:position] + node.args[position + 1 :]
        elif node.is_Pow and position == 0:
            exponent = node.exp
            yield argument, (exponent, sp.Pow(argument, exponent - 1))
        elif node.is_Pow:
            yield argument, (node, sp.log(node.base))
        else:
            try:
                slope = node.fdiff(position + 1)
            except ArgumentIndexError:
                slope = sp.Function.fdiff(node, position + 1)
            yield argument, (slope,)


def _collect(terms: list[Any]) -> Any:
    """The sum of the terms, with the factors that all of them share in front."""
    if len(terms) == 1:
        return terms[0]
    products = [sp.Mul.make_args(term) for term in terms]
    shared = set(products[0]).intersection(*products[1:])
    shared = {factor for factor in shared if not factor.is_Number}
    if not shared:
        return sp.Add(*terms)
    rests = [sp.Mul(*(f for f in p if f not in shared)) for p in products]
    return sp.Mul(*shared, sp.Add(*rests))


def degree(node: Any, symbols: Collection[Any]) -> Any | None:
    """The degree of homogeneity in the symbols jointly; None where none shows."""
    if node in symbols:
        return sp.S.One
    if not node.has_free(*symbols):
        return sp.S.Zero
    if node.is_Pow and not node.exp.has_free(*symbols):
        power = degree(node.base, symbols)
        return None if power is None else power * node.exp
    if not (node.is_Add or node.is_Mul):
        return None
    powers: list[Any] = [degree(argument, symbols) for argument in node.args]
    if None in powers:
        return None
    if node.is_Mul:
        return sp.Add(*powers)
    return powers[0] if len(set(powers)) == 1 else None


def legendre(expression: Any, velocities: Collection[Any]) -> Any:
    """<dL/dv, v> - L, with T + V in the form in which T - V was written.

    By Euler's theorem a term of degree k in the velocities gives k - 1 times itself.
    """
    parts = []
    for term in sp.Add.make_args(expression):
        power = degree(term, velocities)
        if power is None:
            slopes = partials(term, velocities)
            parts += [sp.Mul(s, v) for v in velocities for s in slopes[v]]
            parts.append(-term)
        else:
            parts.append((power - 1) * term)
    return sp.Add(*parts)


def shortest_sum(terms: list[Any]) -> Any:
    """The sum of the terms, with sums of velocities multiplied out if that is shorter.

    Terms of dL/dq and of dp/dt that cancel may meet as (v + w) x here and as v x + w x
    there, as in a chain of relative angles.
    """
    written = sp.Add(*terms)
    spread: list[Any] = []
    for term in sp.Add.make_args(written):
        factors = sp.Mul.make_args(term)
        sums = [f for f in factors if f.is_Add and all(map(_is_velocity, f.args))]
        if sums:
            others = [f for f in factors if f is not sums[0]]
            parts = sp.Add.make_args(sums[0])
            spread += [sp.Mul(*others, part) for part in parts]
        else:
            spread.append(term)
    multiplied_out = sp.Add(*spread)
    return min(written, multiplied_out, key=lambda x: len(sp.Add.make_args(x)))


def _is_velocity(term: Any) -> bool:
    symbol = term.as_coeff_Mul()[1]
    return isinstance(symbol, Coordinate) and symbol.order == 1
