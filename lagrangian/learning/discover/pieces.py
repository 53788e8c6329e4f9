"""Pieces: the parts of an array of parameters that a model uses by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np

from lagrangian.learning.discover.axes import Cut


@dataclass(frozen=True)
class Piece:
    """Some entries of an array, as an array of their own.

    Attributes:
        path, whole: the array, and its shape.
        start: its first entry in the flat array.
        factors: (length, stride in the flat array) of each axis of the piece.
    """

    path: str
    whole: tuple[int, ...]
    start: int
    factors: tuple[tuple[int, int], ...]

    @classmethod
    def all_of(cls, path: str, shape: Sequence[int]) -> Piece:
        """The array, uncut. Axes of length 1 are left out."""
        kept = zip(shape, _strides(shape), strict=True)
        return cls(path, tuple(shape), 0, tuple((n, s) for n, s in kept if n > 1))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(length for length, _ in self.factors)

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """For each axis of the piece the axis of the array that it is a part of."""
        strides = _strides(self.whole)
        return tuple(
            next(i for i, s in enumerate(strides) if s <= stride and self.whole[i] > 1)
            for _, stride in self.factors
        )

    @cached_property
    def is_all(self) -> bool:
        """Whether it holds every entry, in order."""
        return self.start == 0 and prod(self.shape) == prod(self.whole)

    @cached_property
    def index(self) -> np.ndarray:
        """Where its entries are in the flat array."""
        index = np.full((), self.start)
        for length, stride in self.factors:
            index = np.add.outer(index, np.arange(length) * stride)
        return index

    def take(self, array: Any) -> Any:
        """The piece of an array, NumPy's or JAX's."""
        if self.is_all:
            return array.reshape(self.shape)
        return array.reshape(-1)[self.index]

    def place(self, values: Any) -> Any:
        """The array that holds these values, and zeros elsewhere."""
        if self.is_all:
            return values.reshape(self.whole)
        if isinstance(values, np.ndarray):
            array = np.zeros(prod(self.whole), values.dtype)
            array[self.index] = values
            return array.reshape(self.whole)
        array = jnp.zeros(prod(self.whole), values.dtype)
        return array.at[self.index].set(values, unique_indices=True).reshape(self.whole)

    def written(self, names: Mapping[int, str]) -> str:
        """How it is written, where these axes are numbered: `[..., k]`, `[4k:4k+4]`."""
        strides = _strides(self.whole)
        slots = []
        for i, (length, stride) in enumerate(zip(self.whole, strides, strict=True)):
            start = self.start // stride % length
            parts = [
                (n, s // stride, names.get(axis, ":"))
                for axis, (n, s) in enumerate(self.factors)
                if self.origins[axis] == i
            ]
            slots.append(_slot(length, start, parts))
        return f"[{_abbreviated(slots)}]" if any(s != ":" for s in slots) else ""


def pieces_of(
    shapes: Mapping[str, tuple[int, ...]], cuts: Mapping[str, Sequence[Cut]]
) -> list[Piece]:
    """The pieces of all arrays; arrays whole where cuts are no partition."""
    found = []
    for path, shape in shapes.items():
        parts = [Piece(path, shape, *cut) for cut in cuts.get(path, ())]
        found += parts if _is_partition(parts, shape) else [Piece.all_of(path, shape)]
    return found


def _is_partition(parts: list[Piece], shape: tuple[int, ...]) -> bool:
    if not parts or any(not _is_inside(part) for part in parts):
        return False
    if len(parts) == 1 and parts[0].is_all:
        return True
    index = np.concatenate([part.index.ravel() for part in parts])
    return len(index) == prod(shape) and len(np.unique(index)) == len(index)


def _is_inside(part: Piece) -> bool:
    """Whether each axis of the piece belongs to one axis of the array."""
    axes = list(zip(_strides(part.whole), part.whole, strict=True))
    return all(
        any(s <= stride and stride * n <= s * m for s, m in axes)
        for n, stride in part.factors
    )


def _strides(shape: Sequence[int]) -> list[int]:
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def _slot(length: int, start: int, parts: list[tuple[int, int, str]]) -> str:
    """One axis of an array in brackets."""
    labels = [label for _, _, label in parts]
    count = prod(n for n, _, _ in parts)
    plain = set(labels) <= {":"}
    if count == length:
        if plain:
            return ":"
        if len(set(labels)) == 1:
            return labels[0]
        if labels[1:] == [":"] * (len(parts) - 1):
            step, name = parts[0][1], labels[0]
            return f"{step}{name}:{step}{name}+{step}"
        if labels[:-1] == [":"] * (len(parts) - 1):
            return f"{labels[-1]}::{parts[-1][0]}"
        return f"({', '.join(labels)})"
    if not parts:
        return str(start)
    last = parts[-1][1]
    tidy = all(
        stride == last * prod(n for n, _, _ in parts[i + 1 :])
        for i, (_, stride, _) in enumerate(parts)
    )
    if plain:
        end = start + (count - 1) * last + 1
        step = f":{last}" if last > 1 else ""
        if tidy:
            return f"{start}:{end}{step}"
    if tidy and last == 1 and len(set(labels)) == 1:
        return f"{start}+{labels[0]}"
    if ":" not in labels:
        terms = [
            f"{stride}{label}" if stride > 1 else label for _, stride, label in parts
        ]
        return "+".join([str(start), *terms] if start else terms)
    return f"{start}+({', '.join(labels)})"


def _abbreviated(slots: list[str]) -> str:
    """Leading or trailing full slices as an ellipsis, where that is shorter."""
    lead = next((i for i, s in enumerate(slots) if s != ":"), 0)
    if lead > 0:
        return ", ".join(["...", *slots[lead:]])
    trail = next((i for i, s in enumerate(reversed(slots)) if s != ":"), 0)
    return ", ".join([*slots[: len(slots) - trail], "..."] if trail else slots)
