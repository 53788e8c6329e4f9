"""Symbols of a reading, evaluated on the arrays of a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from lagrangian.learning.rules.read.elements import Reading
from lagrangian.learning.rules.read.part import Part, count, g
from lagrangian.learning.rules.read.trace import subtree
from lagrangian.lowering.evaluate import evaluate
from lagrangian.lowering.pytrees import named_leaves

_REDUCED: dict[str, Callable[..., Any]] = {
    "sum": jnp.sum,
    "mean": jnp.mean,
    "max": jnp.max,
    "min": jnp.min,
    "prod": jnp.prod,
}


def field_arrays(reading: Reading, name: str, state: Any) -> dict[str, Any]:
    """The arrays of a field, by the path of the parameters to which they belong.

    A field of the whole tree is under the path "".
    """
    for field in reading.traced.fields:
        if field.name != name:
            continue
        tree = subtree(state, field.prefix)
        if field.leaf is None:
            return {"": tree}
        if not field.rest:
            return named_leaves(tree)
        end = "." + ".".join(field.rest)
        named = named_leaves(tree).items()
        return {n.removesuffix(end): a for n, a in named if n.endswith(end)}
    return {}


def step_count(reading: Reading, state: Any) -> Any:
    """The number of the step that comes after a state."""
    known = dict(zip(reading.traced.fields, reading.before, strict=True))
    for field, before in known.items():
        if before.shape == () and before[()] == count:
            return subtree(state, field.prefix)
    return 0


@dataclass
class Step:
    """The arrays of a step: gradients, and the states before and after it."""

    reading: Reading
    parts: Mapping[str, Part]
    gradient: Mapping[str, Any]
    before: Any
    after: Any

    def __call__(self, leaf: str, expression: Any) -> Any:
        """An expression in the symbols of a part, for one array."""
        part = self.parts[leaf]
        values = {}
        for symbol in expression.free_symbols:
            values[symbol] = self._value(leaf, part, symbol)
        return evaluate([expression], values)[0]

    def _value(self, leaf: str, part: Part, symbol: Any) -> Any:
        if symbol == g:
            return self.gradient[leaf]
        if symbol == count:
            return step_count(self.reading, self.before)
        if symbol in part.sums:
            return self._sum(leaf, *part.sums[symbol])
        (state,) = (s for s in part.states if symbol in (s.before, s.after))
        where = self.before if symbol == state.before else self.after
        arrays = field_arrays(self.reading, state.name, where)
        return arrays[""] if state.scalar and "" in arrays else arrays[leaf]

    def _sum(self, leaf: str, kind: str, term: Any, over: str) -> Any:
        reduce = _REDUCED[kind]
        if over == "tree":
            return sum(reduce(self(other, term)) for other in self.parts)
        if over.startswith("axis"):
            axes = tuple(map(int, over.removeprefix("axis ").split(", ")))
            return reduce(self(leaf, term), axis=axes, keepdims=True)
        return reduce(self(leaf if over == "leaf" else over.removeprefix("of "), term))
