"""Flows of blocks: the motion of whole parameter arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jax.typing import ArrayLike

from lagrangian.errors import CannotLower, LagrangianError, nearest
from lagrangian.flows.arguments import Array, is_traced, real_array
from lagrangian.flows.flow import Flow
from lagrangian.lowering.evaluate import evaluate
from lagrangian.symbolic.algebra.blocks import Applied
from lagrangian.symbolic.algebra.coordinates import time
from lagrangian.symbolic.algebra.expressions import Expression
from lagrangian.symbolic.algebra.inner import Inner

#: An array for each block, by its name.
Arrays: TypeAlias = dict[str, Array]


def _for_scalars(name: str, advice: str) -> Callable[..., NoReturn]:
    """A method that scalar coordinates have and blocks have not, and says so."""

    def method(self: Any, *arguments: Any, **options: Any) -> NoReturn:
        raise LagrangianError(
            f"`{name}` is for scalar coordinates, and this flow is of blocks. {advice}"
        )

    method.__name__ = name
    return method


@jax.tree_util.register_pytree_node_class
class BlockFlow(Flow[Arrays]):
    """A flow of blocks: q and v are dictionaries of arrays by block name."""

    ensemble = _for_scalars("ensemble", "Call `jax.vmap` on `integrate`.")
    section = _for_scalars("section", "Look for changes of sign along a path.")
    flow_map = _for_scalars("flow_map", "`integrate` is a JAX function.")
    lyapunov_exponents = _for_scalars(
        "lyapunov_exponents", "`jax.linearize` of `integrate` has its tangents."
    )

    @cached_property
    def _explicit(self) -> dict[Any, tuple[Any, Any]]:
        """For each block (mass, forcing) in mass * qddot = forcing, elementwise."""
        explicit = {}
        still = {q.ddot: sp.S.Zero for q in self.lagrangian.coordinates}
        for q, equation in zip(
            self.lagrangian.coordinates, self.lagrangian.equations, strict=True
        ):
            rest = equation.lhs.xreplace(still)
            mass = sp.cancel(sp.expand(equation.lhs - rest) / q.ddot)
            if mass.has(*still) or mass.has(Applied) or _inside_inner(mass, still):
                raise CannotLower(
                    f"the equation of block `{q}` is not explicit in `{q.ddot}`: "
                    f"{equation.lhs} = 0. Use a kinetic energy that is elementwise in "
                    "the velocities."
                )
            explicit[q] = (mass, -rest)
        return explicit

    def _expressions(self) -> dict[str, Any]:
        return {
            f"equation for `{q}`": sp.Tuple(*parts)
            for q, parts in self._explicit.items()
        } | {"energy": self.lagrangian.energy}

    def _values(self, q: Any, v: Any, t: Any) -> dict[Any, Any]:
        values: dict[Any, Any] = {time: t, **self.given}
        for c in self.lagrangian.coordinates:
            values[c], values[c.dot] = q[c.name], v[c.name]
        return values

    def evaluate_moving(
        self, expression: Expression, q: Arrays, v: Arrays, a: Arrays, t: ArrayLike
    ) -> Any:
        """As `evaluate`, of an expression with accelerations, too."""
        values = self._values(q, v, t)
        values |= {c.ddot: a[c.name] for c in self.lagrangian.coordinates}
        expression = self.exponents.expression(expression)
        return evaluate([expression], values, self.losses)[0]

    def sizes(self, state: Arrays) -> Any:
        """The largest size of each block, in the layout of the state."""
        return jax.tree.map(
            lambda x: jnp.full(x.shape, jnp.abs(x).max(initial=0.0)), state
        )

    def acceleration(self, q: Arrays, v: Arrays, t: ArrayLike = 0.0) -> Any:
        flat = evaluate(
            [part for parts in self._explicit.values() for part in parts],
            self._values(q, v, t),
            self.losses,
        )
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {
            c.name: jnp.broadcast_to(forcing / mass, q[c.name].shape)
            for c, (mass, forcing) in zip(self._explicit, pairs, strict=True)
        }

    def _pack(self, state: Any, what: str) -> Any:
        names = [c.name for c in self.lagrangian.coordinates]
        if not isinstance(state, Mapping):
            raise LagrangianError(
                f"`{what}` is of type {type(state).__name__}; expected a mapping from "
                f"blocks to arrays, such as `{{{names[0]}: array, ...}}`."
            )
        by_name = {getattr(key, "name", key): value for key, value in state.items()}
        if foreign := [name for name in by_name if name not in names]:
            raise LagrangianError(
                f"`{what}` has the key `{foreign[0]}`, which is no block of this "
                f"system. {nearest(str(foreign[0]), names)}"
            )
        if missing := [name for name in names if name not in by_name]:
            raise LagrangianError(
                f"`{what}` has no array for {', '.join(f'`{n}`' for n in missing)}. "
                f"Pass `{{{missing[0]!r}: array, ...}}`."
            )
        arrays = {}
        for name in names:
            if is_traced(by_name[name]):
                arrays[name] = by_name[name]
                continue
            array = real_array(by_name[name])
            if array is None or not np.isfinite(array).all():
                raise LagrangianError(
                    f"`{what}` has something else than finite real numbers for "
                    f"`{name}`. Pass an array of them."
                )
            arrays[name] = jnp.asarray(array)
        return arrays

    def _pack_traced(self, state: Any, what: str) -> Any:
        return self._pack(state, what)

    def _check_start(self, q: Any, v: Any, t: Any) -> None:
        for name, array in q.items():
            if v[name].shape != array.shape:
                raise LagrangianError(
                    f"`v0` has shape {v[name].shape} for `{name}`, and `q0` has "
                    f"{array.shape}. Pass the velocities of the same numbers."
                )


def _inside_inner(expression: Any, symbols: Any) -> bool:
    return any(product.has(*symbols) for product in expression.atoms(Inner))
