"""From the elements of an array to what they share: the indices taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.read.counts import elements, sizes
from lagrangian.learning.rules.read.evaluate import Element, Evaluation
from lagrangian.learning.rules.read.part import (
    Part,
    State,
    count,
    g,
    is_nonnegative,
    q,
    value,
)
from lagrangian.learning.rules.read.primitives import chosen
from lagrangian.learning.rules.read.trace import Field, Traced
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: A random number of an element.
_NOISE = EngineSymbol("xi", real=True)


def family_of(field: Field) -> str:
    return field.name if field.leaf is None else f"{field.name}({field.leaf})"


class _NotAlike(Exception):
    """Elements of one array are updated in different ways."""


@dataclass
class Renaming:
    """From the symbols of elements to those that all elements share."""

    traced: Traced
    evaluation: Evaluation
    before: list[Any]
    after: list[Any]
    starts: list[Any]

    def __post_init__(self) -> None:
        #: The numbers of elements in the code, by their symbols.
        self._sizes_of = sizes(self.traced.counts)
        self._next: dict[Any, Any] = {}
        for old, new in zip(self.before, self.after, strict=True):
            for index in np.ndindex(*old.shape):
                if isinstance(old[index], sp.Symbol):
                    self._next[old[index]] = new[index]

    def parts(self, updates: Mapping[str, Any]) -> dict[str, Part]:
        """How each array is updated."""
        return {leaf: self._part(leaf, array) for leaf, array in updates.items()}

    def _part(self, leaf: str, update: Any) -> Part:
        sums: dict[Any, tuple[str, Any, str]] = {}
        symbols = self._everything(update)
        opaque = [o for s, o in self.evaluation.opaque.items() if s in symbols]
        noise = any(s in self.evaluation.noise for s in symbols)
        opaque = tuple(dict.fromkeys(opaque))
        if opaque:
            return Part(leaf, None, (), {}, opaque, noise)
        try:
            shared = self._shared(leaf, update, sums)
            states = self._states(leaf, shared, sums)
        except _NotAlike:
            return Part(leaf, None, (), {}, opaque, noise)
        used = [shared, *(s.update for s in states)]
        part = Part(leaf, shared, states, _in_use(used, sums), opaque, noise)
        return _with_signs(part)

    def _everything(self, array: Any) -> set[Any]:
        """All symbols that play a part, through states and sums as well."""
        seen: set[Any] = set()
        pending = {s for e in np.ravel(array) for s in e.free_symbols}
        while pending:
            symbol = pending.pop()
            if symbol in seen:
                continue
            seen.add(symbol)
            if symbol in self.evaluation.reductions:
                terms = self.evaluation.reductions[symbol].terms
                pending |= {s for t in terms for s in t.free_symbols}
            if symbol in self.evaluation.defined:
                pending |= self.evaluation.defined[symbol].free_symbols
            if symbol in self._next:
                pending |= self._next[symbol].free_symbols
        return seen

    def _shared(self, leaf: str, array: Any, sums: dict[Any, Any]) -> Any:
        """The expression that all elements of an array share."""
        found = None
        for index in np.ndindex(*array.shape):
            here = self._renamed(leaf, index, array[index], sums)
            if found is not None and here != found:
                raise _NotAlike
            found = here
        return found

    def _renamed(self, leaf: str, index: Any, expression: Any, sums: Any) -> Any:
        names: dict[Any, Any] = {}
        for symbol in expression.free_symbols - self._sizes_of.keys():
            names[symbol] = self._name(leaf, index, symbol, sums)
        if len(set(names.values())) < len(names):
            raise _NotAlike  # two elements of one array
        told = self._in_means(leaf, expression, names, sums)
        told = told.xreplace(names | self._sizes_of)
        return _flat(_whole_tree(told, sums, list(self.traced.leaves)))

    def _in_means(self, leaf: str, expression: Any, names: Any, sums: Any) -> Any:
        """With means in the place of sums that are divided by how many there are."""
        size = elements(int(np.prod(self.traced.leaves[leaf])))
        for old, new in names.items():
            if new not in sums or sums[new][0] != "sum" or sums[new][2] != "leaf":
                continue
            if not expression.has(size):
                break
            mean = _sum("mean", sums[new][1], "leaf", new.assumptions0, sums)
            told = _without_common(expression.xreplace({old: size * mean}), size)
            if told.count(size) < expression.count(size):
                expression = told
        return expression

    def _name(self, leaf: str, index: Any, symbol: Any, sums: Any) -> Any:
        if symbol in self.evaluation.reductions:
            return self._reduction(leaf, index, symbol, sums)
        if not isinstance(symbol, Element):
            return symbol if symbol in (count, value) else _NOISE
        name, _, rest = symbol.family.partition("(")
        owner, _, prime = rest.rpartition(")")
        if rest and owner != leaf:
            raise _NotAlike
        if len(symbol.index) > len(index) or (
            len(symbol.index) == len(index) and not self._broadcast(symbol, index)
        ):
            raise _NotAlike
        name += prime
        return {"g": g, "q": q}.get(name) or EngineSymbol(name, **symbol.assumptions0)

    def _broadcast(self, symbol: Any, index: Any) -> bool:
        """Whether an element is at this place, or spread over it."""
        size = self._sizes().get(symbol.family.rstrip("'"), ())
        return all(
            i == j or (i == 0 and axis < len(size) and size[axis] == 1)
            for axis, (i, j) in enumerate(zip(symbol.index, index, strict=True))
        )

    def _sizes(self) -> dict[str, Any]:
        return {family_of(f): f.shape for f in self.traced.fields}

    def _reduction(self, leaf: str, index: Any, symbol: Any, sums: Any) -> Any:
        reduction = self.evaluation.reductions[symbol]
        owners = {o for t in reduction.terms for o in _owners(t, self.evaluation)}
        if len(owners) != 1:
            return symbol
        (owner,) = owners
        shape = self.traced.leaves[owner]
        terms, places = set(), []
        for term in reduction.terms:
            places.append(self._place(term))
            terms.add(self._renamed(owner, places[-1], term, sums))
        if len(terms) > 1:
            return symbol
        (term,) = terms
        over = "leaf" if owner == leaf else f"of {owner}"
        if len(places) < int(np.prod(shape)):
            axes = range(min(map(len, places)))
            varying = [axis for axis in axes if len({p[axis] for p in places}) > 1]
            over = f"axis {', '.join(map(str, varying))}"
            kept = [axis for axis in axes if axis not in varying]
            here = tuple(places[0][axis] for axis in kept)
            if owner != leaf or here not in (
                index,
                tuple(index[axis] for axis in kept if axis < len(index)),
            ):
                raise _NotAlike
        return _sum(reduction.kind, term, over, symbol.assumptions0, sums)

    def _place(self, term: Any) -> tuple[int, ...]:
        """Which element of its array a term belongs to."""
        found = {s.index for s in term.free_symbols if isinstance(s, Element)}
        if not any(found):
            for symbol in term.free_symbols & set(self.evaluation.reductions):
                places = [*map(self._place, self.evaluation.reductions[symbol].terms)]
                axes = range(min(map(len, places)))
                found.add(
                    tuple(
                        places[0][a] for a in axes if len({p[a] for p in places}) == 1
                    )
                )
        return max(found, key=len, default=())

    def _states(self, leaf: str, update: Any, sums: Any) -> tuple[State, ...]:
        """The states on which an update depends, one after the other."""
        found: dict[str, State] = {}
        pending = [update, *(term for _, term, _ in list(sums.values()))]
        while pending:
            used = {s.name.rstrip("'") for s in pending.pop().free_symbols}
            for field_, old, new, start in zip(
                self.traced.fields, self.before, self.after, self.starts, strict=True
            ):
                if field_.name not in used or field_.name in found:
                    continue
                if field_.leaf not in (leaf, None):
                    continue
                state = self._state(leaf, field_, old, new, start, sums)
                if state is not None:
                    found[field_.name] = state
                    pending.append(state.update)
                    pending += [term for _, term, _ in list(sums.values())]
        return tuple(found.values())

    def _state(
        self, leaf: str, field_: Field, old: Any, new: Any, start: Any, sums: Any
    ) -> State | None:
        if not isinstance(old.flat[0], Element):
            return None
        assumptions = old.flat[0].assumptions0
        written = np.empty(new.shape, object)
        for index in np.ndindex(*new.shape):
            symbol = new[index]
            written[index] = self.evaluation.defined.get(symbol, symbol)
        before = EngineSymbol(field_.name, **assumptions)
        after = EngineSymbol(field_.name + "'", real=True)
        where = self._shared(leaf, written, sums)
        first = self._shared(leaf, start, sums)
        return State(field_.name, before, after, where, first, old.shape == ())


def _without_common(expression: Any, size: Any) -> Any:
    """Comparisons of which both sides have a power of `size`, without it."""

    def divided(relation: Any) -> Any:
        power = relation.rhs.as_powers_dict().get(size, 0)
        sides = (side / size**power for side in relation.args)
        return relation.func(*sides)

    compared = sp.LessThan | sp.StrictLessThan | sp.GreaterThan | sp.StrictGreaterThan
    return expression.replace(lambda e: isinstance(e, compared), divided)


def _owners(expression: Any, evaluation: Evaluation) -> Iterator[str]:
    """The parameter arrays whose elements occur."""
    for symbol in expression.free_symbols:
        if isinstance(symbol, Element) and "(" in symbol.family:
            yield symbol.family.partition("(")[2].rpartition(")")[0]
        elif symbol in evaluation.reductions:
            for term in evaluation.reductions[symbol].terms:
                yield from _owners(term, evaluation)


def _sum(kind: str, term: Any, over: str, assumptions: Any, sums: Any) -> Any:
    """The symbol of a sum, named by what it is."""
    suffix = "" if over == "leaf" else f"; {over}"
    known = {key: a for key, a in assumptions.items() if key in ("positive", "real")}
    symbol = EngineSymbol(f"{kind}({term}{suffix})", **known)
    sums[symbol] = kind, term, over
    return symbol


def _flat(expression: Any) -> Any:
    """Without cases inside of the same cases."""
    if not expression.has(sp.Piecewise):
        return expression
    return expression.replace(
        lambda node: isinstance(node, sp.Piecewise) and len(node.args) == 2,
        lambda node: chosen(node.args[0].cond, node.args[0].expr, node.args[1].expr),
    )


def _with_signs(part: Part) -> Part:
    """With those states known to be no less than zero that never are, by induction."""
    candidates = [s for s in part.states if s.start.is_nonnegative]
    while candidates:
        symbols = frozenset(v for s in candidates for v in (s.before, s.after))
        kept = [s for s in candidates if is_nonnegative(s.update, symbols)]
        if kept == candidates:
            return replace(part, nonnegative=symbols)
        candidates = kept
    return part


def _in_use(expressions: list[Any], sums: Mapping[Any, Any]) -> dict[Any, Any]:
    """Those of the sums that occur, also inside of one another."""
    found: dict[Any, Any] = {}
    pending = list(expressions)
    while pending:
        for symbol in pending.pop().free_symbols & set(sums) - set(found):
            found[symbol] = sums[symbol]
            pending.append(sums[symbol][1])
    return found


def _whole_tree(expression: Any, sums: Any, leaves: list[str]) -> Any:
    """Sums over every array become one over the whole tree; others maybe a mean."""
    for symbol in list(expression.free_symbols & set(sums)):
        kind, term, over = sums[symbol]
        if over != "leaf" or kind != "sum":
            continue
        others = {
            s
            for s in expression.free_symbols & set(sums)
            if sums[s][:2] == (kind, term) and sums[s][2].startswith("of ")
        }
        if others and len(others) == len(leaves) - 1:
            whole = _sum(kind, term, "tree", symbol.assumptions0, sums)
            told = expression.xreplace({symbol: whole - sp.Add(*others)})
            if not told.free_symbols & others:
                expression = told
    return expression
