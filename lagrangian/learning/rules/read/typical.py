"""An update but for what happens almost nowhere, and without noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.part import Part, count, is_nonnegative

#: Below this, a threshold guards against a division by zero.
_GUARD = sp.Rational(1, 10**5)


def almost_everywhere(expression: Any, nonnegative: frozenset[Any]) -> Any:
    """Without what happens at the first step, near zero, or where numbers are equal."""
    if not expression.has(sp.core.relational.Relational):
        return expression

    def is_rare(node: Any) -> bool:
        return _verdict(node, nonnegative) is not None

    return expression.replace(is_rare, lambda node: _verdict(node, nonnegative))


def _verdict(node: Any, nonnegative: frozenset[Any]) -> Any:
    if not isinstance(node, sp.core.relational.Relational):
        return None
    symbols = node.free_symbols
    if isinstance(node, sp.Eq | sp.Ne):
        first = count in node.args and symbols == {count}
        if first or not all(s.is_integer for s in symbols):
            return sp.false if isinstance(node, sp.Eq) else sp.true
        return None
    large, small = node.gts, node.lts
    if symbols == {count} and count in (large, small):
        number = small if large == count else large
        return sp.true if large == count else sp.false if number <= 1 else None
    if small.is_number and 0 <= small <= _GUARD and not large.is_number:
        return sp.true if is_nonnegative(large, nonnegative) else None
    if large.is_number and 0 <= large <= _GUARD and not small.is_number:
        return sp.false if is_nonnegative(small, nonnegative) else None
    return None


def typical(part: Part) -> Part:
    """A part without noise, and without what happens almost nowhere."""
    update = part.update
    if part.noise:
        noise = {s: sp.S.Zero for s in update.free_symbols if s.name == "xi"}
        update = update.xreplace(noise)
    states = tuple(
        replace(s, update=almost_everywhere(s.update, part.nonnegative))
        for s in part.states
    )
    update = almost_everywhere(update, part.nonnegative)
    return replace(part, update=update, states=states)
