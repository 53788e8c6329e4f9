"""Many small inner products as data: which entries are multiplied and summed up.

A program that has an operation for each product compiles for as long as there are laws.
Here all of them are three operations, however many there are: take entries, multiply,
add. Which entries is data, found out before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True, eq=False)
class Bilinear:
    """Numbers b_k(x, y), each a sum of c x_i y_j over a few entries.

    Attributes:
        shape: of the numbers.
        shapes: of x and of y.
        index: k, i and j of each summand, in flat arrays; shape (3, summands).
        weights: c of each.
    """

    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    index: np.ndarray
    weights: np.ndarray

    def __neg__(self) -> Bilinear:
        return replace(self, weights=-self.weights)

    @classmethod
    def of_matrices(cls, matrices: np.ndarray, shapes: Any) -> Bilinear:
        """The numbers <x, A_k y>, of the A_k; shape (*shape, entries of x and of y)."""
        shape = matrices.shape[:-2]
        flat = matrices.reshape(prod(shape), *matrices.shape[-2:])
        index = np.array(np.nonzero(flat))
        return cls(shape, shapes, index, flat[tuple(index)])

    @classmethod
    def inner(cls, shape: tuple[int, ...], kept: int | None) -> Bilinear:
        """The sum of x y over all axes of two arrays, or over all but one."""
        entries = np.arange(prod(shape))
        units = () if kept is None else (shape[kept],)
        if kept is None:
            numbers = np.zeros(len(entries), int)
        else:
            numbers = np.indices(shape)[kept].ravel()
        index = np.stack([numbers, entries, entries])
        return cls(units, (shape, shape), index, np.ones(len(entries)))


def evaluated(forms: Sequence[tuple[Bilinear, Any, Any]]) -> Any:
    """The numbers of all forms, one after the other, in single precision at least.

    Args:
        forms: with their x and y, which are broadcast to its shapes.
    """
    arrays = {id(a): a for _, *sides in forms for a in sides}
    *firsts, size = np.cumsum([0, *(a.size for a in arrays.values())])
    starts = dict(zip(arrays, firsts, strict=True))
    tables, places = _tables(forms, starts, int(size))
    dtype = jnp.promote_types(jnp.result_type(*arrays.values()), jnp.float32)
    flat = [a.astype(dtype).reshape(-1) for a in arrays.values()]
    entries = jnp.concatenate([*flat, jnp.zeros(1, dtype)])
    sums = [
        (_at(entries, left) * _at(entries, right) * weights.astype(dtype)).sum(axis=1)
        for left, right, weights in tables
    ]
    return _at(jnp.concatenate(sums), places)


def _at(array: Any, index: np.ndarray) -> Any:
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _tables(forms: Any, starts: Any, zero: int) -> tuple[list[Any], np.ndarray]:
    """Entries and weights of numbers with about as many summands; where each number is.

    What is missing to the next power of 2 is made up by the entry `zero`.
    """
    columns, count = [], 0
    for form, *sides in forms:
        numbers, *entries = form.index
        places = [
            starts[id(a)] + _entries(a.shape, shape)[e]
            for a, shape, e in zip(sides, form.shapes, entries, strict=True)
        ]
        columns.append((numbers + count, *places, form.weights))
        count += prod(form.shape)
    # The last summand is the one that makes up what is missing.
    columns.append(([], [zero], [zero], [0.0]))
    numbers, lefts, rights, weights = map(np.concatenate, zip(*columns, strict=True))
    numbers, missing = numbers.astype(int), len(weights) - 1
    order = np.append(np.argsort(numbers, kind="stable"), missing)
    lengths = np.bincount(numbers, minlength=count)
    firsts = np.cumsum(lengths) - lengths
    rounded = 2 ** np.ceil(np.log2(np.maximum(lengths, 1))).astype(int)
    tables, found = [], []
    for length in np.unique(rounded):
        members = np.flatnonzero(rounded == length)
        is_there = np.arange(length) < lengths[members, None]
        places = np.where(is_there, firsts[members, None] + np.arange(length), missing)
        which = order[places]
        left, right = (side[which].astype(np.int32) for side in (lefts, rights))
        tables.append((left, right, weights[which]))
        found.append(members)
    return tables, np.argsort(np.concatenate(found)).astype(np.int32)


def _entries(shape: tuple[int, ...], wanted: tuple[int, ...]) -> np.ndarray:
    """Which entry of an array is where, once it is broadcast."""
    return np.broadcast_to(np.arange(prod(shape)).reshape(shape), wanted).ravel()
