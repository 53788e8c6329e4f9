"""Many inner products at one state, on the CPU in one kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lagrangian.lowering.evaluate import evaluate, unit_axis
from lagrangian.lowering.families import (
    families_in,
    family_products,
    has_family,
)
from lagrangian.lowering.kernels.fused import fused, total
from lagrangian.lowering.platform import on_cpu
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.inner import Inner

#: Entries of a block from which on its products are worth several threads.
LARGE = 2**18
#: Entries of a block up to which its products are summed as they are: the loops for
#: larger ones take long to compile.
SMALL = 128
#: Rows that are added up in one turn of its loops, where they can be shared out so.
_UNROLLED = 8
#: Lanes side by side in a sum over everything, and over the last axes for each unit.
_LANES, _UNIT_LANES = 64, 16


def inner_products(products: Sequence[Inner], values: Mapping[Any, Any]) -> list[Any]:
    """The values of `products`: scalars, or vectors over a unit axis.

    Those that contain a `Family` of linear maps are arrays of its shape.

    Args:
        products: of blocks, of linear maps and of elementwise functions of them.
        values: as `evaluate` takes them.
    """
    families = families_in(values)
    several = [node for node in products if has_family(node, families)]
    single = [node for node in products if not has_family(node, families)]
    found = dict(zip(single, _summed(single, values), strict=True))
    if several:
        of_members = family_products(several, values, families)
        found |= zip(several, of_members, strict=True)
    return [found[node] for node in products]


def product_shape(
    node: Inner, arrays: Mapping[Any, tuple[int, ...]], values: Mapping[Any, Any]
) -> tuple[int, ...]:
    """The shape of what `inner_products` returns for a product, without tracing it.

    Args:
        node: the product.
        arrays: the shape of each block.
        values: families of linear maps may be among them.
    """
    families = families_in(values)
    for base, family in families.items():
        if has_family(node, {base: family}):
            return family.shape
    axis = unit_axis(node)
    if axis is None:
        return ()
    shapes = (arrays[block] for block in node.atoms(Block))
    return (max(shapes, key=len)[axis],)


def _summed(products: Sequence[Inner], values: Mapping[Any, Any]) -> list[Any]:
    """Sums over one pair of blocks each.

    XLA's CPU backend runs every sum over a block as a kernel of its own, reads the
    block for each of them again, and sums without vector registers down its columns.
    Here, on one device, one kernel makes all products of all but the largest blocks.
    """
    operands = evaluate([side for node in products for side in node.args], values)
    pairs = [
        tuple(map(jnp.asarray, operands[i : i + 2])) for i in range(0, len(operands), 2)
    ]
    groups: dict[Any, list[int]] = {}
    for index, (node, (x, y)) in enumerate(zip(products, pairs, strict=True)):
        shape, axis = jnp.broadcast_shapes(x.shape, y.shape), unit_axis(node)
        kept = None if axis is None else axis % len(shape)
        groups.setdefault((shape, kept), []).append(index)
    # Blocks that are cut among devices need sums that XLA knows for such.
    alone = on_cpu() and jax.device_count() == 1
    results: list[Any] = [None] * len(products)
    small: dict[Any, list[int]] = {}
    for (shape, kept), members in groups.items():
        if alone and math.prod(shape) < LARGE:
            small[shape, kept] = members
            continue
        axes = tuple(a for a in range(len(shape)) if a != kept)
        for index in members:
            x, y = pairs[index]
            results[index] = jnp.sum(x * y, axis=axes)
    for index, value in _together(pairs, small).items():
        results[index] = value
    return results


def _together(
    pairs: Sequence[Any], groups: Mapping[Any, Sequence[int]]
) -> dict[int, Any]:
    """Those of `pairs` that are in `groups`, by one kernel that reads an array once."""
    members = [i for group in groups.values() for i in group]
    arrays = {id(array): array for i in members for array in pairs[i]}

    @fused
    def kernel(*given: Any) -> dict[int, Any]:
        inside = dict(zip(arrays, given, strict=True))
        results: dict[int, Any] = {}
        for (shape, kept), group in groups.items():
            chosen = [[inside[id(array)] for array in pairs[i]] for i in group]
            results |= zip(group, _sums(chosen, shape, kept), strict=True)
        return results

    return kernel(*arrays.values()) if members else {}


def _sums(pairs: Sequence[Any], shape: tuple[int, ...], kept: int | None) -> list[Any]:
    """Products of one shape over the same axes, row by row.

    XLA's own sums over all but the last axis go down each column, with a stride, and
    none of them uses vector registers. Here rows of lanes are added to one another.
    """
    size = math.prod(shape)
    if size <= SMALL:
        axes = tuple(a for a in range(len(shape)) if a != kept)
        return [jnp.sum(jnp.broadcast_to(x * y, shape), axis=axes) for x, y in pairs]
    # Units in the last axis are lanes themselves; any others come first.
    in_lanes = kept == len(shape) - 1
    first = None if in_lanes else kept
    units = () if first is None else (shape[first],)
    if in_lanes:
        lanes = shape[-1]
    else:
        lanes = math.gcd(size // math.prod(units), _UNIT_LANES if units else _LANES)
    rows = size // math.prod((lanes, *units))
    turn = math.gcd(rows, _UNROLLED)

    def laid_out(array: Any) -> Any:
        if array.ndim == 0:
            return array
        array = jnp.broadcast_to(array, shape)
        if first is not None:
            array = jnp.moveaxis(array, first, 0)
        return array.reshape(*units, rows, lanes)

    distinct = {id(a): laid_out(a) for pair in pairs for a in pair}

    def rows_from(array: Any, start: Any) -> list[Any]:
        if array.ndim == 0:
            return [array] * turn
        part = jax.lax.dynamic_slice_in_dim(array, start, turn, len(units))
        return [part[..., k, :] for k in range(turn)]

    def body(i: Any, sums: Any) -> Any:
        here = {key: rows_from(array, i * turn) for key, array in distinct.items()}
        return [
            # A turn's sum first: fewer roundings than one row after the other.
            so_far
            + sum(
                (one * other).astype(so_far.dtype)
                for one, other in zip(here[id(x)], here[id(y)], strict=True)
            )
            for so_far, (x, y) in zip(sums, pairs, strict=True)
        ]

    dtypes = [jnp.result_type(x, y) for x, y in pairs]
    # As `jnp.sum` does, in single precision at least.
    wide = [jnp.promote_types(dtype, jnp.float32) for dtype in dtypes]
    zero = [jnp.zeros((*units, lanes), dtype) for dtype in wide]
    sums = jax.lax.fori_loop(0, rows // turn, body, zero)
    if not in_lanes:
        sums = [total(value, axis=len(units)) for value in sums]
    return [x.astype(dtype) for x, dtype in zip(sums, dtypes, strict=True)]
