"""The functions of linear maps, tried out before a law is believed of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.errors import LagrangianError
from lagrangian.symbolic.algebra.blocks import Applied, Block, LinearMap
from lagrangian.symbolic.laws.noether import Law

#: Of what sums of random numbers may differ by, in units of the dtype's epsilon.
_ROUNDING = 1e4


def check_maps(
    laws: Iterable[Law], maps: Mapping[Any, Any], leaves: Mapping[str, Any]
) -> None:
    """Try that every map in the laws' generators is linear, and has its parity.

    Raises:
        LagrangianError: one is not; its law would be refuted, or worse, believed.
    """
    found = {
        (node.args[0].base, node.args[1])
        for law in laws
        for direction in law.symmetry.xi.values()
        for node in getattr(direction, "atoms", lambda _: ())(Applied)
        if isinstance(node.args[1], Block) and not node.args[0].transposed
    }
    with jax.ensure_compile_time_eval():
        for linear_map, block in sorted(found, key=str):
            function = maps.get(linear_map)
            if callable(function):
                _try(linear_map, function, leaves[block.name])


def _try(linear_map: LinearMap, function: Callable[[Any], Any], leaf: Any) -> None:
    generator = np.random.default_rng(0)
    x, y = (
        jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype) for _ in range(2)
    )
    at_x, at_y, at_sum = function(x), function(y), function(x - 2 * y)
    small = _ROUNDING * float(jnp.finfo(leaf.dtype).eps)
    gap, size = at_sum - at_x + 2 * at_y, jnp.abs(at_sum) + jnp.abs(at_x)
    if float(jnp.max(jnp.abs(gap))) > small * float(jnp.max(size)):
        raise LagrangianError(
            f"the function of the linear map `{linear_map}` is not linear. Pass one "
            f"with `{linear_map}(x + y) = {linear_map}(x) + {linear_map}(y)`; a part "
            "that does not move with x is a `lg.ConstantBlock` of its own."
        )
    parity = linear_map.parity
    if not parity:
        return
    if at_x.shape != y.shape:
        raise LagrangianError(
            f"the linear map `{linear_map}` has the parity {parity}, and its function "
            f"takes the shape {x.shape} to {at_x.shape}. Leave the parity out."
        )
    gap = jnp.sum(at_x * y) - parity * jnp.sum(x * at_y)
    if float(jnp.abs(gap)) > small * float(jnp.sum(jnp.abs(at_x * y))):
        kind = "symmetric" if parity == 1 else "antisymmetric"
        raise LagrangianError(
            f"the function of the linear map `{linear_map}` is not {kind}, as its "
            f"parity {parity} says: <A x, y> is not {parity} <x, A y>. Pass another "
            "function, or leave the parity out."
        )
