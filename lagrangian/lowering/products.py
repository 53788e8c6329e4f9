"""Many inner products at one state, on the CPU in one kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.lowering.bilinear import Bilinear, evaluated
from lagrangian.lowering.evaluate import evaluate, unit_axis
from lagrangian.lowering.families import (
    base_of,
    bilinear_forms,
    families_in,
    family_products,
)
from lagrangian.lowering.kernels.fused import fused, total
from lagrangian.lowering.platform import on_cpu
from lagrangian.symbolic.algebra.blocks import Block
from lagrangian.symbolic.algebra.inner import Inner

#: Entries of a block from which on its products are worth several threads.
LARGE = 2**18
#: Entries of a block up to which its products are data: loops take long to compile.
SMALL = 128
#: Rows that are added up in one turn of its loops, where they can be shared out so.
_UNROLLED = 8
#: Lanes side by side in a sum over everything, and at least in one for each unit.
_LANES, _UNIT_LANES = 64, 16


def inner_products(products: Sequence[Inner], values: Mapping[Any, Any]) -> Any:
    """The values of `products`, one after the other in one array.

    Each is a scalar, a vector over a unit axis, or, if it contains a `Family` of linear
    maps, an array of its shape: see `product_shapes`.

    Args:
        products: of blocks, of linear maps and of elementwise functions of them.
        values: as `evaluate` takes them.
    """
    families = families_in(values)
    several = [node for node in products if base_of(node, families)]
    single = [node for node in products if not base_of(node, families)]
    pairs = _pairs(single, values)
    forms: dict[Inner, Any] = {}
    # Blocks that are cut among devices need sums that XLA knows for such.
    if on_cpu() and jax.device_count() == 1:
        forms = bilinear_forms(several, values, families)
        for node, (x, y, shape, kept) in pairs.items():
            if math.prod(shape) <= SMALL:
                forms[node] = Bilinear.inner(shape, kept), x, y
    small = [node for node in products if node in forms]
    rest = [node for node in several if node not in forms]
    found = _summed({n: pair for n, pair in pairs.items() if n not in forms})
    found |= zip(rest, family_products(rest, values, families), strict=True)
    parts = [evaluated([forms[node] for node in small])] if small else []
    parts += [value.reshape(-1) for value in found.values()]
    joined = jnp.concatenate([*parts, *([] if parts else [jnp.zeros(0)])])
    made = [*small, *found]
    if made == [*products]:
        return joined
    sizes = [math.prod(forms[node][0].shape) for node in small]
    sizes += [value.size for value in found.values()]
    places = dict(
        zip(made, np.split(np.arange(sum(sizes)), np.cumsum(sizes[:-1])), strict=True)
    )
    return joined[np.concatenate([places[node] for node in products])]


def product_shapes(
    products: Sequence[Inner],
    arrays: Mapping[Any, tuple[int, ...]],
    values: Mapping[Any, Any],
) -> list[tuple[int, ...]]:
    """The shapes of what `inner_products` computes, without tracing it.

    Args:
        products: of these blocks.
        arrays: the shape of each block.
        values: families of linear maps may be among them.
    """
    families = families_in(values)

    def shape(node: Inner) -> tuple[int, ...]:
        if base := base_of(node, families):
            return families[base].shape
        axis = unit_axis(node)
        if axis is None:
            return ()
        return (max((arrays[w] for w in node.atoms(Block)), key=len)[axis],)

    return [shape(node) for node in products]


def _pairs(
    products: Sequence[Inner], values: Mapping[Any, Any]
) -> dict[Inner, tuple[Any, Any, tuple[int, ...], int | None]]:
    """The two arrays of each product, their common shape, and the kept axis."""
    operands = evaluate([side for node in products for side in node.args], values)
    arrays = [jnp.asarray(operand) for operand in operands]
    found: dict[Inner, Any] = {}
    for node, x, y in zip(products, arrays[::2], arrays[1::2], strict=True):
        shape, axis = jnp.broadcast_shapes(x.shape, y.shape), unit_axis(node)
        found[node] = x, y, shape, None if axis is None else axis % len(shape)
    return found


def _summed(pairs: Mapping[Inner, Any]) -> dict[Inner, Any]:
    """Sums over one pair of blocks each.

    XLA's CPU backend runs every sum over a block as a kernel of its own, reads the
    block for each of them again, and sums without vector registers down its columns.
    Here, on one device, one kernel makes all products of all but the largest blocks;
    but for units that come first, whose rows are for a product with a vector.
    """
    alone = on_cpu() and jax.device_count() == 1
    results: dict[Inner, Any] = {}
    groups: dict[Any, list[Inner]] = {}
    for node, (x, y, shape, kept) in pairs.items():
        if alone and math.prod(shape) < LARGE:
            if kept in (None, len(shape) - 1):
                groups.setdefault((shape, kept), []).append(node)
            else:
                results[node] = _each_row(x, y, shape, kept)
            continue
        axes = tuple(a for a in range(len(shape)) if a != kept)
        results[node] = jnp.sum(x * y, axis=axes)
    return results | _together(pairs, groups)


def _together(
    pairs: Mapping[Inner, Any], groups: Mapping[Any, Sequence[Inner]]
) -> dict[Inner, Any]:
    """Those of `pairs` that are in `groups`, by one kernel that reads an array once."""
    members = [node for group in groups.values() for node in group]
    arrays = {id(array): array for node in members for array in pairs[node][:2]}

    @fused
    def kernel(*given: Any) -> list[Any]:
        inside = dict(zip(arrays, given, strict=True))
        results: list[Any] = []
        for (shape, kept), group in groups.items():
            chosen = [[inside[id(a)] for a in pairs[node][:2]] for node in group]
            results += _sums(chosen, shape, kept)
        return results

    if not members:
        return {}
    return dict(zip(members, kernel(*arrays.values()), strict=True))


def _each_row(x: Any, y: Any, shape: tuple[int, ...], kept: int) -> Any:
    """The product of two blocks for each unit, in an axis that is not the last."""
    dtype = jnp.result_type(x, y)
    wide = jnp.promote_types(dtype, jnp.float32)
    rows = jnp.broadcast_to(x * y, shape).astype(wide)
    rows = rows.reshape(*shape[: kept + 1], -1) @ jnp.ones(
        math.prod(shape[kept + 1 :]), wide
    )
    return rows.sum(axis=tuple(range(kept))).astype(dtype)


def _sums(pairs: Sequence[Any], shape: tuple[int, ...], kept: int | None) -> list[Any]:
    """Products of one shape over all axes, or over all but the last, row by row.

    XLA's own sums over all but the last axis go down each column, with a stride, and
    none of them uses vector registers. Here rows of lanes are added to one another.
    """
    units, least = (1, _LANES) if kept is None else (shape[-1], _UNIT_LANES)
    rows = math.prod(shape) // units
    # Where units are few, several of their rows are one row of lanes.
    side = math.gcd(rows, max(1, least // units))
    rows, lanes = rows // side, side * units
    turn = math.gcd(rows, _UNROLLED)

    def laid_out(array: Any) -> Any:
        if array.ndim == 0:
            return array
        return jnp.broadcast_to(array, shape).reshape(rows, lanes)

    distinct = {id(a): laid_out(a) for pair in pairs for a in pair}

    def rows_from(array: Any, start: Any) -> list[Any]:
        if array.ndim == 0:
            return [array] * turn
        part = jax.lax.dynamic_slice_in_dim(array, start, turn)
        return [part[k] for k in range(turn)]

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
    zero = [jnp.zeros(lanes, dtype) for dtype in wide]
    sums = jax.lax.fori_loop(0, rows // turn, body, zero)
    if side > 1:
        sums = [total(value.reshape(side, units)) for value in sums]
    ends = () if kept is None else (units,)
    return [x.astype(t).reshape(ends) for x, t in zip(sums, dtypes, strict=True)]
