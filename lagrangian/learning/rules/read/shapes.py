"""Primitives of JAX that move elements about, on arrays of expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp


class NoSymbolicForm(Exception):
    """Raised for what the table does not have; says what that is."""


def broadcast(
    _: Any, x: Any, *, shape: Any, broadcast_dimensions: Any, **__: Any
) -> Any:
    between = [1] * len(shape)
    for axis, target in enumerate(broadcast_dimensions):
        between[target] = x.shape[axis]
    return np.broadcast_to(x.reshape(between), shape)


def transposed(_: Any, x: Any, *, permutation: Any, **__: Any) -> Any:
    return np.transpose(x, permutation)


def reshaped(_: Any, x: Any, *, new_sizes: Any, **__: Any) -> Any:
    return x.reshape(new_sizes)


def squeezed(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.squeeze(x, axis=tuple(dimensions))


def expanded(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.expand_dims(x, tuple(dimensions))


def sliced(
    _: Any, x: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **__: Any
) -> Any:
    strides = strides or [1] * x.ndim
    rows = zip(start_indices, limit_indices, strides, strict=True)
    return x[tuple(slice(*row) for row in rows)]


def _indices(values: Any) -> list[int]:
    numbers = [v[()] if isinstance(v, np.ndarray) else v for v in values]
    if not all(getattr(n, "is_Integer", False) for n in numbers):
        raise NoSymbolicForm("an index that is computed")
    return [int(n) for n in numbers]


def dynamic_slice(_: Any, x: Any, *starts: Any, slice_sizes: Any, **__: Any) -> Any:
    begins = [
        min(max(b, 0), n - size)
        for b, n, size in zip(_indices(starts), x.shape, slice_sizes, strict=True)
    ]
    return x[
        tuple(slice(b, b + size) for b, size in zip(begins, slice_sizes, strict=True))
    ]


def dynamic_update(_: Any, x: Any, update: Any, *starts: Any, **__: Any) -> Any:
    out = np.array(x, object)
    begins = [
        min(max(b, 0), n - size)
        for b, n, size in zip(_indices(starts), x.shape, update.shape, strict=True)
    ]
    where = tuple(
        slice(b, b + size) for b, size in zip(begins, update.shape, strict=True)
    )
    out[where] = update
    return out


def concatenated(_: Any, *arrays: Any, dimension: Any, **__: Any) -> Any:
    return np.concatenate(arrays, axis=dimension)


def split(_: Any, x: Any, *, sizes: Any, axis: int, **__: Any) -> Any:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def iota(_: Any, *, dtype: Any, shape: Any, dimension: Any, **__: Any) -> Any:
    counted = np.arange(shape[dimension]).reshape(
        [-1 if axis == dimension else 1 for axis in range(len(shape))]
    )
    return np.vectorize(sp.Integer, otypes=[object])(np.broadcast_to(counted, shape))


def reversed(_: Any, x: Any, *, dimensions: Any, **__: Any) -> Any:
    return np.flip(x, axis=tuple(dimensions))


def padded(_: Any, x: Any, value: Any, *, padding_config: Any, **__: Any) -> Any:
    if any(low < 0 or high < 0 or inner for low, high, inner in padding_config):
        raise NoSymbolicForm("pad")
    widths = [(low, high) for low, high, _ in padding_config]
    return np.pad(x, widths, constant_values=value[()])
