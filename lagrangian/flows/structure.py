"""What a flow is apart from its numbers: what its compiled functions depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import jax
from jax.typing import ArrayLike

from lagrangian.lowering.exponents import Exponents, parts
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian

_P = TypeVar("_P", bound="Parametric")


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

    def __getstate__(self) -> dict[str, Any]:
        # A copy's functions may be others, and another process hashes otherwise.
        cached = ("_known_content", "_hash")
        return {name: x for name, x in vars(self).items() if name not in cached}


class Parametric:
    """A pytree whose leaves are parameters, and which has accelerations.

    Attributes:
        structure: all of it but its parameters; hashable, with their `symbols`.
        parameters: by symbol.
    """

    structure: Any
    parameters: dict[Any, Any]

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        return tuple(self.parameters.values()), self.structure

    @classmethod
    def tree_unflatten(cls: type[_P], structure: Any, leaves: Any) -> _P:
        flow = object.__new__(cls)
        flow.structure = structure
        flow.parameters = dict(zip(structure.symbols, leaves, strict=True))
        return flow

    def acceleration(self, q: Any, v: Any, t: ArrayLike = 0.0) -> Any:
        """The second time derivatives at a state; a JAX function.

        Args:
            q, v: the state, in the layout of the flow: for scalars float64 arrays of
                shape (..., coordinates), for blocks an array of the block's shape by
                each name, for fields arrays of shape (components, *points).
            t: the time, a number.

        Returns:
            The same layout as `q`.
        """
        raise NotImplementedError

    @property
    def field(self) -> Callable[..., Any]:
        """The first-order system as diffrax takes it: f(t, (q, v), _) = (v, qddot)."""

        def field(t: Any, state: Any, _: Any) -> Any:
            q, v = state
            return v, self.acceleration(q, v, t)

        return field


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
