"""The update of one element, the same for all elements of an array, in symbols.

u(g, state, q) and state'(g, state, q): what an array, or several, have in common once
the indices are taken away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.rules.read.evaluate import Element, Evaluation
from lagrangian.learning.rules.read.part import Part, count, value
from lagrangian.learning.rules.read.renaming import Renaming, family_of
from lagrangian.learning.rules.read.trace import Field, Traced


@dataclass(frozen=True)
class Reading:
    """A transformation in symbols, element by element.

    Attributes:
        traced: the jaxprs behind it.
        parts: of each parameter array.
        updates: for each array the expressions of its elements, in `Element`s.
        states, starts: likewise of every field of the state, after a step and at first.
        evaluation: what the other symbols of these stand for.
        before: the symbols of the state, before the step.
        arguments: all arrays of symbols, in the order of the jaxpr's arguments.
    """

    traced: Traced
    parts: dict[str, Part]
    updates: dict[str, Any]
    states: list[Any]
    starts: list[Any]
    evaluation: Evaluation
    before: list[Any]
    arguments: list[Any] = field(repr=False)


def read_elements(traced: Traced) -> Reading:
    """Evaluate the jaxprs, and take the indices away."""
    leaves = traced.leaves
    gradients = [_symbols(f"g({name})", shape) for name, shape in leaves.items()]
    parameters = [_symbols(f"q({name})", shape) for name, shape in leaves.items()]
    given = [_filled((), value)] * ("value" in traced.extra)
    start = Evaluation()
    starts = start(traced.init, parameters)
    before = [_state(f) for f in traced.fields]

    def evaluated(evaluation: Evaluation) -> tuple[list[Any], list[Any]]:
        out = evaluation(traced.update, [*gradients, *before, *parameters, *given])
        return out[: len(leaves)], out[len(leaves) :]

    # What never changes is a number, and counters of steps are one counter.
    _, after = evaluated(Evaluation())
    for _ in range(2):  # a number may be all that something else needs to be one
        before = [
            _settled(*arrays) for arrays in zip(before, after, starts, strict=True)
        ]
        first = Evaluation()
        _, after = evaluated(first)
    second = Evaluation(names=_names(traced.fields, after, first))
    moved, named = evaluated(second)
    updates = dict(zip(leaves, moved, strict=True))
    arguments = [*gradients, *before, *parameters, *given]
    third = Evaluation(names=second.names, counts=traced.counts)
    alike, after = evaluated(third) if traced.counts else (moved, named)
    known = third if traced.counts else second
    renaming = Renaming(traced, known, before, after, starts)
    parts = renaming.parts(dict(zip(leaves, alike, strict=True)))
    return Reading(traced, parts, updates, named, starts, second, before, arguments)


def _symbols(family: str, shape: tuple[int, ...], **assumptions: Any) -> Any:
    out = np.empty(shape, object)
    for index in np.ndindex(*shape):
        out[index] = Element(family, index, **(assumptions or {"real": True}))
    return out


def _filled(shape: tuple[int, ...], element: Any) -> Any:
    out = np.empty(shape, object)
    out[...] = element
    return out


def _state(field: Field) -> Any:
    kind = getattr(field.dtype, "kind", "O")
    if kind in "iu":
        return _symbols(family_of(field), field.shape, integer=True, nonnegative=True)
    return _symbols(family_of(field), field.shape, real=True)


def _settled(before: Any, after: Any, start: Any) -> Any:
    """The symbols of a state, with numbers for those that never change."""
    out = np.array(before, object)
    for index in np.ndindex(*before.shape):
        old, new, first = before[index], after[index], start[index]
        if not isinstance(old, sp.Symbol):
            continue
        if _is_constant(first) and new in (old, first):
            out[index] = first
        elif before.shape == () and first in (sp.true, 1) and new in (sp.false, 0):
            out[index] = sp.Eq(count, 0)  # says that it is the first step
        elif before.shape == () and old.is_integer and new == old + 1 and first == 0:
            out[index] = count
    return out


def _is_constant(value: Any) -> bool:
    return value in (sp.true, sp.false) or value.is_number


def _names(fields: Any, after: list[Any], first: Evaluation) -> dict[Any, Any]:
    """For every computation of a new state, the symbol by which it goes on."""
    names = {}
    for field_, array in zip(fields, after, strict=True):
        if getattr(field_.dtype, "kind", "O") in "iub":
            continue  # steps are counted; they are no averages
        for index in np.ndindex(*array.shape):
            expression = array[index]
            if not expression.args or not expression.free_symbols - {count}:
                continue
            symbol = Element(family_of(field_) + "'", index, real=True)
            for place in first.results.get(expression, ()):
                names.setdefault(place, symbol)
    return names
