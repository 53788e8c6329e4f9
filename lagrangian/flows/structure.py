"""What a flow is apart from its numbers: what its compiled functions depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

import jax

from lagrangian.lowering.exponents import Exponents, parts
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


class Structure(ByContent):
    """A Lagrangian with functions for its losses and maps, but without its parameters.

    Equal ones share what was compiled, whatever the parameters are.

    Args:
        kind: the class of the flow.
        lagrangian: as it was given to `lower`.
        parameters: a value for every symbol, of which exponents keep theirs.
        losses: functions by the names of losses.

    Attributes:
        lagrangian: that with numbers for the parameters of exponents.
        fixed: the parameters that belong to the structure: functions, and exponents.
        symbols: all others, in their order.
    """

    def __init__(
        self,
        kind: type,
        lagrangian: Lagrangian,
        parameters: Mapping[Any, Any],
        losses: Mapping[str, Callable[..., Any]],
    ):
        self.kind, self.written, self.losses = kind, lagrangian, dict(losses)
        self.exponents = Exponents(parts(lagrangian), parameters)
        self.lagrangian = self.exponents.lagrangian(lagrangian)
        self.order = tuple(parameters)
        self.fixed = {
            s: x
            for s, x in parameters.items()
            if callable(x) or s in self.exponents.numbers
        }
        self.symbols = tuple(s for s in parameters if s not in self.fixed)

    @cached_property
    def _known_content(self) -> tuple[Any, ...]:
        # By identity: two functions that are equal elsewhere may compute otherwise.
        functions = [(name, id(f)) for name, f in self.losses.items()]
        fixed = [(s, id(x) if callable(x) else float(x)) for s, x in self.fixed.items()]
        sets = frozenset(functions), frozenset(fixed)
        return self.kind, self.written, self.symbols, *sets

    def _content(self) -> tuple[Any, ...]:
        return self._known_content

    @cached_property
    def _hash(self) -> int:
        return hash(self._known_content)

    def __hash__(self) -> int:
        return self._hash

    __eq__ = ByContent.__eq__


#: A function of (structure, ...) whose result is kept for as long as it may be of use.
kept = lru_cache(maxsize=256)


@partial(jax.jit, static_argnums=(0, 1))
def _run(build: Any, settings: Any, flow: Any, arguments: Any) -> Any:
    return build(flow, *settings)(*arguments)


def run(build: Callable[..., Any], settings: Any, flow: Any, *arguments: Any) -> Any:
    """`build(flow, *settings)(*arguments)`, compiled once for flows of one structure.

    What was compiled belongs to this module: a flow that is made anew, or with other
    parameters, finds it again.

    Args:
        build: a function of a module, which makes a JAX function while JAX traces.
        settings: hashable; other ones are compiled anew.
        flow: a pytree, such as a `Flow`.
    """
    return _run(build, settings, flow, arguments)
