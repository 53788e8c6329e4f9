"""How one array is updated, in symbols that all of its elements share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from lagrangian.learning.rules.read.evaluate import Opaque
from lagrangian.symbolic.algebra.own_symbols import EngineSymbol

#: The gradient and the parameter of an element, before the step.
g, q = (EngineSymbol(name, real=True) for name in "gq")
#: The loss before the step, for rules that are told it.
value = EngineSymbol("f", real=True)
#: The number of the step, from zero.
count = EngineSymbol("k", integer=True, nonnegative=True)


@dataclass(frozen=True)
class State:
    """One array of the state, element by element.

    Attributes:
        name: the field's.
        before, after: its symbols.
        update: `after` in terms of everything else.
        start: where it starts, in terms of q.
        scalar: whether it is one number, and not one for every element.
    """

    name: str
    before: Any
    after: Any
    update: Any
    start: Any
    scalar: bool = False


@dataclass(frozen=True)
class Part:
    """How one array is updated.

    Attributes:
        leaf: the array's path.
        update: what is added to an element q, in symbols; None if elements of the
            array differ in it.
        states: those on which it depends.
        sums: what the symbols of sums and the like over elements stand for: their
            kind, the element's term, and over what ("leaf", "tree", "axis 0", or
            "of NAME" for another array).
        opaque: what has no symbolic form in it.
        noise: whether random numbers are in it.
        nonnegative: the symbols of states that are never below zero.
    """

    leaf: str
    update: Any
    states: tuple[State, ...]
    sums: Mapping[Any, tuple[str, Any, str]]
    opaque: tuple[Opaque, ...]
    noise: bool
    nonnegative: frozenset[Any] = frozenset()

    @property
    def form(self) -> Any:
        """What two arrays that are updated alike have in common."""
        return self.update, self.states, frozenset(self.opaque), self.noise


def is_nonnegative(expression: Any, symbols: frozenset[Any]) -> bool:
    """Whether it is never below zero where these symbols are not."""
    names = {s: sp.Dummy(nonnegative=True) for s in symbols}
    return bool(expression.xreplace(names).is_nonnegative)
