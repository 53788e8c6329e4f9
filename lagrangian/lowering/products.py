"""Many inner products at one state, as few kernels as there are shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lagrangian.lowering.evaluate import evaluate, unit_axis
from lagrangian.symbolic.inner import Inner


def inner_products(products: Sequence[Inner], values: Mapping[Any, Any]) -> list[Any]:
    """The values of `products`: scalars, or vectors over a unit axis.

    XLA's CPU backend runs every sum over a block as a kernel of its own. Here the
    elementwise products of one shape are stacked and summed together, which is one
    kernel: a fifth of the time for blocks of some thousand entries.

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
        axes = tuple(1 + a for a in range(len(shape)) if a != kept)
        sums = jnp.sum(jnp.stack([array for _, array in members]), axis=axes)
        for row, (index, _) in enumerate(members):
            results[index] = sums[row]
    return results
