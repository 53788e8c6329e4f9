"""Many inner products at one state, in few kernels where the blocks are small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lagrangian.lowering.evaluate import evaluate, unit_axis
from lagrangian.symbolic.inner import Inner

#: Entries of a block up to which a kernel's start costs more than its sum.
SMALL = 4096


def inner_products(products: Sequence[Inner], values: Mapping[Any, Any]) -> list[Any]:
    """The values of `products`: scalars, or vectors over a unit axis.

    XLA's CPU backend runs every sum over a block as a kernel of its own. Here the
    elementwise products of one shape, if they are small, are stacked and summed by one
    kernel. A large stack would be written to memory, and read back, for nothing.

    Args:
        products: of blocks, of linear maps and of elementwise functions of them.
        values: as `evaluate` takes them.
    """
    operands = evaluate([side for node in products for side in node.args], values)
    groups: dict[Any, list[tuple[int, Any]]] = {}
    for index, node in enumerate(products):
        array = jnp.asarray(operands[2 * index] * operands[2 * index + 1])
        axis = unit_axis(node)
        kept = None if axis is None else axis % array.ndim
        groups.setdefault((array.shape, kept), []).append((index, array))
    results: list[Any] = [None] * len(products)
    for (shape, kept), members in groups.items():
        arrays = [array for _, array in members]
        axes = [a for a in range(len(shape)) if a != kept]
        for (index, _), total in zip(members, _sums(arrays, axes), strict=True):
            results[index] = total
    return results


def _sums(arrays: list[Any], axes: list[int]) -> list[Any]:
    """Of arrays of one shape over the same axes."""
    if arrays[0].size > SMALL:
        return [jnp.sum(array, axis=tuple(axes)) for array in arrays]
    return list(jnp.sum(jnp.stack(arrays), axis=tuple(1 + a for a in axes)))
