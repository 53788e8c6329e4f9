"""Which transformations of the parameters an update commutes with, from its symbols.

A transformation of q turns gradients by the inverse transpose. The update keeps it if
u of what was transformed is the transformed u, for a suitable transformation of the
state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.linear import coefficients
from lagrangian.learning.rules.read.part import Part, count, g, q, value

#: In this order.
NAMES = "scale", "rescale", "rotation", "permutation", "translation"


@dataclass(frozen=True)
class Kept:
    """Whether a symmetry is kept; if not, what breaks it."""

    holds: bool
    reason: str = ""


def symmetries_of(part: Part) -> dict[str, Kept] | None:
    """For each of `NAMES` whether an array's update keeps it; None if unreadable."""
    if part.update is None:
        return None
    if part.update == 0:
        return dict.fromkeys(NAMES, Kept(True))
    scale = _scale(part)
    return {
        "scale": scale,
        # Two arrays, by c and by 1/c: each for itself.
        "rescale": scale,
        "rotation": _rotation(part),
        "permutation": Kept(True),
        "translation": _translation(part),
    }


class _Broken(Exception):
    """Says what breaks a symmetry."""


def _scale(part: Part) -> Kept:
    """q -> c q of one array, under which g -> g/c: are all terms of one degree?"""
    degrees: dict[Any, Any] = {g: sp.Integer(-1), q: sp.S.One, count: sp.S.Zero}
    degrees[value] = sp.S.Zero
    for state in part.states:
        degrees[state.before] = degrees[state.after] = sp.Dummy(state.name)
    equations: list[tuple[Any, str, bool]] = []

    def same(left: Any, right: Any, reason: str, late: bool = False) -> None:
        if left != right:
            equations.append((left - right, reason, late))

    def degree(node: Any) -> Any:
        if node in degrees:
            return degrees[node]
        if node.is_number or node in (sp.true, sp.false):
            return sp.S.Zero
        if node in part.sums:
            _, term, over = part.sums[node]
            found = degree(term)
            if over != "leaf" and not over.startswith("axis"):
                same(found, sp.S.Zero, f"`{node}` holds other arrays, too")
            degrees[node] = found
            return found
        if node.is_Symbol:
            raise _Broken(f"the noise `{node}`" if node.name == "xi" else f"`{node}`")
        if node.is_Mul:
            return sp.Add(*map(degree, node.args))
        if node.is_Pow:
            if node.exp.is_number:
                return node.exp * degree(node.base)
            same(degree(node.base), sp.S.Zero, f"`{node}`")
            return sp.S.Zero
        if isinstance(node, sp.Piecewise):
            for _, condition in node.args:
                degree(condition)
            return alike([case for case, _ in node.args], node)
        if isinstance(node, sp.core.relational.Relational):
            if node.rhs != 0:
                alike(node.args, node)
            else:
                degree(node.lhs)
            return sp.S.Zero
        if node.is_Add or isinstance(node, sp.Min | sp.Max):
            return alike(node.args, node)
        inside = [degree(a) for a in node.args]
        if isinstance(node, sp.Abs):
            return inside[0]
        if isinstance(node, sp.sign):
            return sp.S.Zero
        if not isinstance(node, sp.logic.boolalg.Boolean):
            for found in inside:
                same(found, sp.S.Zero, f"`{node}`")
        return sp.S.Zero

    def alike(terms: Any, node: Any) -> Any:
        terms = [t for t in terms if t != 0]
        found = [degree(t) for t in terms]
        for term, other in zip(terms[1:], found[1:], strict=True):
            reason = f"`{_short(terms[0])}` beside `{_short(term)}`"
            same(other, found[0], reason, terms[0].is_number or term.is_number)
        return found[0] if found else sp.S.Zero

    try:
        for state in part.states:
            if state.start != 0:
                reason = f"`{state.name}` starts at {state.start}"
                same(degree(state.start), degrees[state.after], reason)
            if state.update != 0:
                same(degree(state.update), degrees[state.after], f"`{state.name}`")
        same(
            degree(part.update),
            sp.S.One,
            "the size of a move does not follow that of q",
        )
    except _Broken as error:
        return Kept(False, str(error))
    unknown = sorted(
        {d for e, _, _ in equations for d in e.free_symbols}, key=lambda d: d.name
    )
    # What is blamed is what is added last: a number, an epsilon say, beside others.
    equations.sort(key=lambda e: e[2])
    for until in range(1, len(equations) + 1):
        known = [e for e, _, _ in equations[:until]]
        if unknown and sp.linsolve(known, unknown) is sp.S.EmptySet:
            return Kept(False, equations[until - 1][1])
        if not unknown and known[-1] != 0:
            return Kept(False, equations[until - 1][1])
    return Kept(True)


def _short(expression: Any) -> str:
    text = str(expression)
    return text if len(text) <= 40 else "a term"


def _rotation(part: Part) -> Kept:
    """An orthogonal map of an array: is all that is no number of the tree a vector?"""
    vectors = [s for s in part.states if not s.scalar]
    while True:
        names = [g, q, *(v for s in vectors for v in (s.before, s.after))]
        kept = [s for s in vectors if _is_vector(s.update, names, part)]
        if kept == vectors:
            break
        vectors = kept
    if _is_vector(part.update, names, part):
        return Kept(True)
    elementwise = [s.name for s in part.states if not s.scalar and s not in vectors]
    if elementwise:
        return Kept(False, f"`{elementwise[0]}` belongs to single elements")
    return Kept(False, "it treats elements one by one")


def _is_vector(expression: Any, vectors: Any, part: Part) -> bool:
    if expression == 0:
        return True
    if any(s.name == "xi" for s in expression.free_symbols):
        return False
    found = coefficients(expression, vectors)
    return bool(found) and all(_is_invariant(f, vectors, part) for f in found.values())


def _is_invariant(expression: Any, vectors: Any, part: Part) -> bool:
    """Whether it is made of numbers of the tree and of inner products of vectors."""
    scalars = {v for s in part.states if s.scalar for v in (s.before, s.after)}
    for symbol in expression.free_symbols - {count, value} - scalars:
        if symbol not in part.sums:
            return False
        kind, term, over = part.sums[symbol]
        if kind not in ("sum", "mean") or over.startswith("axis"):
            return False
        if not _is_product(term, vectors, part):
            return False
    return True


def _is_product(term: Any, vectors: Any, part: Part) -> bool:
    """Whether a term of a sum is bilinear in vectors."""
    scale = sp.Dummy("t")
    present = term.free_symbols & set(vectors)
    scaled = sp.expand(term.xreplace({v: scale * v for v in present}))
    factor, rest = scaled.as_independent(scale, as_Add=False)
    if rest != scale**2:
        return False
    terms = sp.Add.make_args(sp.expand(term))
    numbers = [t.as_independent(*present, as_Add=False)[0] for t in terms]
    polynomial = all(
        p.exp.is_Integer and p.exp > 0
        for t in terms
        for p in t.as_independent(*present, as_Add=False)[1].atoms(sp.Pow)
    )
    return polynomial and all(_is_invariant(n, vectors, part) for n in numbers)


def _translation(part: Part) -> Kept:
    """q -> q + a: is q itself nowhere used?"""
    used = part.update.free_symbols
    for state in part.states:
        used |= state.update.free_symbols
    for _, term, _ in part.sums.values():
        used |= term.free_symbols
    if q not in used:
        return Kept(True)
    if any(q in s.start.free_symbols for s in part.states):
        return Kept(False, "not derived: it compares q with where it was")
    return Kept(False, "q itself is in it")
