"""Differentiation on the shared graph of an expression, in one backward sweep.

SymPy differentiates the tree, once for each symbol. Here every distinct node is visited
once, from the result down to the symbols, with the derivative of the result by that
node in hand (its adjoint); all partial derivatives come out of one sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeAlias

import sympy as sp
from sympy.core.function import ArgumentIndexError

from lagrangian.symbolic.algebra.canonical import product, total
from lagrangian.symbolic.algebra.coordinates import Coordinate
from lagrangian.symbolic.algebra.expressions import distinct_nodes

#: Factors that nobody has multiplied.
Term: TypeAlias = tuple[Any, ...]

#: An adjoint of more terms than this is added up into one factor before it goes on,
#: which bounds the work on graphs that are far smaller than their trees.
MOST_TERMS = 128


def partials(expression: Any, symbols: Iterable[Any]) -> dict[Any, list[Term]]:
    """The derivative of a scalar by each of the symbols, as a list of its terms.

    `summed(terms)` is the derivative, and no terms mean zero.
    """
    return Graph(expression).partials(expression, symbols)


class Graph:
    """What many sweeps over the graph of one expression have in common.

    The derivatives of an expression are made of its nodes, so that a sweep over one of
    them passes the same functions and sums again.
    """

    def __init__(self, expression: Any):
        self._nested = nested_sums(expression)
        self._known_slopes: dict[Any, Term] = {}
        self._known_sums: dict[Term, Any] = {}

    def partials(
        self, expression: Any, symbols: Iterable[Any]
    ) -> dict[Any, list[Term]]:
        """As the function of this name, of an expression on this graph, or another."""
        symbols = list(symbols)
        wanted = set(symbols)
        children = self._active(expression, wanted)
        adjoints: dict[Any, list[Term]] = {expression: [()]}
        # What reaches a node through sums waits here to be added up, so that a sum
        # which is a part of many others is entered with one adjoint and not with one
        # for each.
        through_sums: dict[Any, list[Term]] = {}
        for node in reversed(children):
            terms = adjoints.get(node, [])
            arrived = through_sums.pop(node, [])
            if node in wanted:
                adjoints[node] = terms + arrived
                continue
            if arrived:
                terms = [*terms, self._collect(arrived)]
            if len(terms) > MOST_TERMS:
                terms = [(summed(terms),)]
            if node.is_Add:
                terms = [sp.Mul.make_args(product(term)) for term in terms]
                for argument in children[node]:
                    through_sums.setdefault(argument, []).extend(terms)
                continue
            for argument, factors in self._slopes(node, children[node]):
                own = adjoints.setdefault(argument, [])
                own += [term + factors for term in terms]
        return {symbol: adjoints.get(symbol, []) for symbol in symbols}

    def _active(self, expression: Any, wanted: set[Any]) -> dict[Any, list[Any]]:
        """The nodes that contain a wanted symbol, arguments before those that use them.

        Each comes with those arguments of it that are such nodes themselves.
        """
        active: dict[Any, list[Any]] = {}
        visited: set[Any] = set()
        pending: list[tuple[Any, Iterable[Any] | None]] = [(expression, None)]
        while pending:
            node, arguments = pending.pop()
            if arguments is not None:
                if node in wanted:
                    active[node] = []
                elif found := [a for a in arguments if a in active]:
                    active[node] = found
            elif node not in visited:
                visited.add(node)
                if node in wanted:
                    arguments = ()
                elif _has_rule(node):
                    arguments = self._nested.get(node, node.args)
                else:
                    arguments = wanted & node.free_symbols
                pending.append((node, arguments))
                pending += [(a, None) for a in arguments]
        return active

    def _slopes(self, node: Any, active: list[Any]) -> Iterator[tuple[Any, Term]]:
        """The derivative of `node` by each active argument."""
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
                continue
            key = node, position
            if key not in self._known_slopes:
                self._known_slopes[key] = slope(*key)
            yield argument, self._known_slopes[key]

    def _collect(self, terms: list[Term]) -> Term:
        """The sum of the terms, with the factors that all of them share in front."""
        if len(terms) == 1:
            return terms[0]
        shared = set(terms[0]).intersection(*terms[1:])
        shared = {factor for factor in shared if not factor.is_Number}
        rests = tuple(product(f for f in t if f not in shared) for t in terms)
        if rests not in self._known_sums:
            self._known_sums[rests] = total(rests)
        return *shared, self._known_sums[rests]


def summed(terms: Iterable[Term]) -> Any:
    """The sum of the products of the factors."""
    return total(map(product, terms))


def nested_sums(expression: Any) -> dict[Any, tuple[Any, ...]]:
    """Every sum that begins with a whole other one, as that one and what is added.

    The velocity of a body in a chain is that of the body before it and more; so a sweep
    over n such sums passes n terms and not n^2.
    """
    largest: dict[Any, Any] = {}
    nested = {}
    sums = [node for node in distinct_nodes(expression) if node.is_Add]
    for node in sorted(sums, key=lambda node: len(node.args)):
        inside = dict.fromkeys(largest[a] for a in node.args if a in largest)
        inside = [s for s in inside if set(s.args) < set(node.args)]
        if inside:
            most = max(inside, key=lambda s: len(s.args))
            held = set(most.args)
            nested[node] = (most, *(a for a in node.args if a not in held))
        largest |= dict.fromkeys(node.args, node)
    return nested


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


def slope(node: Any, position: int) -> Term:
    """The derivative of a power or a function by one of its arguments."""
    if node.is_Pow:
        base, exponent = node.args
        if position == 0:
            return exponent, sp.Pow(base, exponent - 1)
        return node, sp.log(base)
    if type(node) in (sp.sin, sp.cos) and _is_angle(node.args[0]):
        # SymPy has settled the sign of the argument, which takes it long.
        if type(node) is sp.sin:
            return (sp.cos(*node.args, evaluate=False),)
        return sp.S.NegativeOne, sp.sin(*node.args, evaluate=False)
    try:
        return (node.fdiff(position + 1),)
    except ArgumentIndexError:
        return (sp.Function.fdiff(node, position + 1),)


def _is_angle(argument: Any) -> bool:
    """Whether it is a sum of multiples of symbols: it is no arc of any number."""
    terms = [term.as_coeff_Mul() for term in sp.Add.make_args(argument)]
    return all(s.is_Symbol and c.is_Rational for c, s in terms) and not argument.is_zero


def degree(node: Any, symbols: Collection[Any]) -> Any | None:
    """The degree of homogeneity in the symbols jointly; None where none shows."""
    symbols = frozenset(symbols)
    if node in symbols:
        return sp.S.One
    if symbols.isdisjoint(node.free_symbols):
        return sp.S.Zero
    if node.is_Pow and symbols.isdisjoint(node.exp.free_symbols):
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
            parts += [product((*s, v)) for v in velocities for s in slopes[v]]
            parts.append(-term)
        else:
            parts.append((power - 1) * term)
    return total(parts)


def shortest_sum(terms: Iterable[Term]) -> Any:
    """The sum of the terms, with sums of velocities multiplied out if that is shorter.

    Terms of dL/dq and of dp/dt that cancel may meet as (v + w) x here and as v x + w x
    there, as in a chain of relative angles.
    """
    written = summed(terms)
    spread: list[Any] = []
    for term in sp.Add.make_args(written):
        factors = sp.Mul.make_args(term)
        sums = [f for f in factors if f.is_Add and all(map(_is_velocity, f.args))]
        if sums:
            others = [f for f in factors if f is not sums[0]]
            spread += [product((*others, part)) for part in sums[0].args]
        else:
            spread.append(term)
    if len(spread) == len(sp.Add.make_args(written)):
        return written
    multiplied_out = total(spread)
    return min(written, multiplied_out, key=lambda x: len(sp.Add.make_args(x)))


def _is_velocity(term: Any) -> bool:
    symbol = term.as_coeff_Mul()[1]
    return isinstance(symbol, Coordinate) and symbol.order == 1
