"""Which arrays of a tree a transformation treats alike, so that each is read once.

SymPy would read the same update for every layer of a deep network. Two arrays are
treated alike if their updates and states are made by the same operations from the same
kinds of inputs; that is compared in the jaxpr, where it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, Literal

from lagrangian.errors import LagrangianError
from lagrangian.learning.rules.read.control import CONTROL
from lagrangian.learning.rules.read.elements import Reading, read_elements
from lagrangian.learning.rules.read.evaluate import inner_jaxpr
from lagrangian.learning.rules.read.trace import Traced, trace
from lagrangian.lowering.pytrees import named_leaves

_NONE: frozenset[str] = frozenset()


def read_alike(transformation: Any, parameters: Any) -> Reading:
    """The reading of a transformation, of arrays that are treated alike once.

    Raises:
        LagrangianError: it cannot be traced.
    """
    traced = trace(transformation, parameters)
    signatures = Signatures()
    found = signatures(traced)
    kinds: dict[Any, list[str]] = {}
    for leaf, kind in found.items():
        kinds.setdefault(kind, []).append(leaf)
    # Two of each, so that a sum over several is told from one.
    kept = {leaf for leaves in kinds.values() for leaf in leaves[:2]}
    if len(kept) < len(found):
        few = _without(parameters, kept)
        try:
            reading = read_elements(trace(transformation, few))
        except LagrangianError:
            return read_elements(traced)
        same = signatures(reading.traced)
        over = {of for p in reading.parts.values() for _, _, of in p.sums.values()}
        if all(same[leaf] == found[leaf] for leaf in kept) and not any(
            of.startswith("of ") for of in over
        ):
            parts = {
                leaf: replace(reading.parts[kinds[kind][0]], leaf=leaf)
                for leaf, kind in found.items()
            }
            small = replace(reading.traced, like=traced.like)
            return replace(reading, parts=parts, traced=small)
    return read_elements(traced)


def _without(parameters: Any, kept: set[str]) -> Any:
    """The tree with nothing in the place of some leaves: their keys stay."""
    leaves, structure = jax.tree.flatten(parameters)
    names = named_leaves(parameters)
    return jax.tree.unflatten(
        structure,
        [
            leaf if name in kept else None
            for name, leaf in zip(names, leaves, strict=True)
        ],
    )


@dataclass(frozen=True)
class _Value:
    """What a variable of a jaxpr is.

    Attributes:
        number: the same for what is computed alike.
        leaves: the arrays from which it is computed.
        sources: what a number is made of that is made of several arrays; else itself.
    """

    number: int
    leaves: frozenset[str]
    sources: frozenset[Any]

    @property
    def is_of_several(self) -> bool:
        return len(self.leaves) > 1


@dataclass
class Signatures:
    """For each array, how its update and its state are computed.

    Equal for two arrays, or for one of two trees, only where all is computed alike.
    """

    _numbers: dict[Any, int] = field(default_factory=dict)

    def __call__(self, traced: Traced) -> dict[str, Any]:
        leaves, fields = traced.leaves, traced.fields
        gradients, parameters = (
            [self._input(what, name, shape) for name, shape in leaves.items()]
            for what in ("gradient", "parameter")
        )
        states = [
            self._input((f.name, f.prefix), f.leaf, f.shape, str(f.dtype))
            for f in fields
        ]
        told = [self._input(name, None, ()) for name in traced.extra[:1]]
        given = told if "value" in traced.extra else []
        starts = self._closed(traced.init, parameters)
        after = self._closed(traced.update, [*gradients, *states, *parameters, *given])
        moved = dict(zip(leaves, after, strict=False))
        ends = after[len(leaves) :]
        return {
            name: (
                moved[name].number,
                *(
                    (before.number, start.number, end.number)
                    for f, before, start, end in zip(
                        fields, states, starts, ends, strict=True
                    )
                    if f.leaf in (name, None)
                ),
            )
            for name in leaves
        }

    def _number(self, *key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _input(self, what: Any, leaf: str | None, *about: Any) -> _Value:
        number = self._number("input", what, leaf is None, *about)
        leaves = _NONE if leaf is None else frozenset([leaf])
        return _Value(number, leaves, frozenset([number]))

    def _constant(self, value: Any) -> _Value:
        array = np.asarray(value)
        about = str(array.dtype), array.shape, array.tobytes()
        number = self._number("constant", *about)
        return _Value(number, _NONE, frozenset([number]))

    def _closed(self, closed: Any, arguments: Sequence[_Value]) -> list[_Value]:
        constants = [self._constant(c) for c in closed.consts]
        return self._run(closed.jaxpr, constants, arguments)

    def _run(self, jaxpr: Jaxpr, constants: Any, arguments: Any) -> list[_Value]:
        values: dict[Any, _Value] = {}
        values.update(zip(jaxpr.constvars, constants, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(variable: Any) -> _Value:
            if isinstance(variable, Literal):
                return self._constant(variable.val)
            return values[variable]

        for equation in jaxpr.eqns:
            inputs = [read(v) for v in equation.invars]
            inner = inner_jaxpr(equation.params)
            if inner is not None and equation.primitive.name not in CONTROL:
                outputs = self._closed(inner, inputs)
            else:
                outputs = self._equation(equation, inputs)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: Sequence[_Value]) -> list[_Value]:
        name, about = equation.primitive.name, _text(equation.params)
        everything = _NONE.union(*(v.leaves for v in inputs))
        own = _NONE.union(*(v.leaves for v in inputs if not v.is_of_several))
        numbers = tuple(v.number for v in inputs)
        outputs = []
        for place, variable in enumerate(equation.outvars):
            shape = variable.aval.shape
            if len(everything) > 1 and shape == ():
                # A sum over the tree has as many terms as the tree has arrays.
                sources = frozenset([name]).union(*(v.sources for v in inputs))
                number = self._number("of several", sources)
                outputs.append(_Value(number, everything, sources))
            elif len(own) > 1 or about is None:
                number = self._number(object())  # like nothing else
                outputs.append(_Value(number, everything, frozenset([number])))
            else:
                number = self._number(name, about, numbers, place, shape)
                outputs.append(_Value(number, own, frozenset([number])))
        return outputs


def _text(parameters: Mapping[str, Any]) -> str | None:
    """The parameters of an equation; None where they have arrays inside."""
    for value in parameters.values():
        inner = value if isinstance(value, tuple | list) else (value,)
        if any(len(getattr(jaxpr, "consts", ())) for jaxpr in inner):
            return None
    return ", ".join(f"{key}={value}" for key, value in sorted(parameters.items()))
