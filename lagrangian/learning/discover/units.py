"""Views: which entries of an array of parameters move together, unit by unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

#: How an axis of n entries holds U units: in U runs, or every U-th entry.
CONTIGUOUS, STRIDED = "contiguous", "strided"


@dataclass(frozen=True)
class View:
    """An array seen as units, each of which a generator moves as a whole.

    Attributes:
        path: of the array.
        shape: of the array.
        axes: those that number the units; the others are within a unit.
        split: None, or (`CONTIGUOUS` or `STRIDED`, units) where the one axis in `axes`
            holds several entries of a unit: the rows that read a flattened image are
            strided by its channels, and a group normalisation's groups are contiguous.
    """

    path: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    split: tuple[str, int] | None = None

    @cached_property
    def units(self) -> tuple[int, ...]:
        """How many units along each of `axes`."""
        if self.split:
            return (self.split[1],)
        return tuple(self.shape[a] for a in self.axes)

    @cached_property
    def size(self) -> int:
        """Entries in a unit."""
        return int(np.prod(self.shape, dtype=int) // np.prod(self.units, dtype=int))

    def unfold(self, array: Any) -> Any:
        """The array as (units..., entries of a unit)."""
        shape, axes = self._grid()
        array = array.reshape(shape)
        rest = tuple(a for a in range(len(shape)) if a not in axes)
        return array.transpose(axes + rest).reshape(*self.units, -1)

    def fold(self, unfolded: Any) -> Any:
        """The inverse of `unfold`."""
        shape, axes = self._grid()
        order = axes + tuple(a for a in range(len(shape)) if a not in axes)
        grid = unfolded.reshape(tuple(shape[a] for a in order))
        return grid.transpose(np.argsort(order)).reshape(self.shape)

    def _grid(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The array's shape with a split axis in two, and the axes of the units."""
        if self.split is None:
            return self.shape, self.axes
        (axis,), (kind, units) = self.axes, self.split
        entries = self.shape[axis] // units
        first = kind == CONTIGUOUS
        parts = (units, entries) if first else (entries, units)
        shape = (*self.shape[:axis], *parts, *self.shape[axis + 1 :])
        return shape, (axis if first else axis + 1,)

    def group(self, sums: np.ndarray) -> np.ndarray:
        """Sums by entry of the split axis, (samples, n), as sums by unit."""
        if self.split is None:
            return sums
        kind, units = self.split
        if kind == CONTIGUOUS:
            return sums.reshape(len(sums), units, -1).sum(axis=2)
        return sums.reshape(len(sums), -1, units).sum(axis=1)

    def without(self, position: int) -> View:
        """Units along one axis less: what differs along it now moves together."""
        axes = self.axes[:position] + self.axes[position + 1 :]
        return replace(self, axes=axes, split=None)

    def splits(self, kind: str, units: int) -> View | None:
        """The coarser view in which the units of this one are grouped."""
        if len(self.axes) != 1 or (self.split and self.split[0] != kind):
            return None
        return replace(self, split=(kind, units))

    def index(self, unit: str = "k") -> str:
        """How one unit is written: `[..., k]`, `[k, ...]`, or nothing for the whole."""
        if not self.axes:
            return ""
        names = [unit] if len(self.axes) == 1 else [f"{unit}{i}" for i in (1, 2, 3, 4)]
        if self.split:
            kind, units = self.split
            entries = self.shape[self.axes[0]] // units
            one = f"{unit}::{units}"
            names = [f"{entries}{unit}:{entries}{unit}+{entries}", one][
                kind == STRIDED :
            ]
        slots = [":"] * len(self.shape)
        for axis, name in zip(self.axes, names, strict=False):
            slots[axis] = name
        return f"[{_abbreviated(slots)}]"


def _abbreviated(slots: list[str]) -> str:
    """Leading or trailing full slices as an ellipsis, where that is shorter."""
    lead = next((i for i, s in enumerate(slots) if s != ":"), 0)
    if lead > 0:
        return ", ".join(["...", *slots[lead:]])
    trail = next((i for i, s in enumerate(reversed(slots)) if s != ":"), 0)
    return ", ".join([*slots[: len(slots) - trail], "..."] if trail else slots)


def scale_views(shapes: dict[str, tuple[int, ...]]) -> Iterator[View]:
    """Whole arrays, single axes, and pairs of axes that name a head and its width."""
    for path, shape in shapes.items():
        for axes in _subsets(shape, 2 if len(shape) in (2, 3) else 1):
            yield View(path, shape, axes)


def shift_views(shapes: dict[str, tuple[int, ...]]) -> Iterator[View]:
    """Every set of axes along which the entries of an array may shift together."""
    for path, shape in shapes.items():
        for axes in _subsets(shape, len(shape)):
            yield View(path, shape, axes)


def matrix_views(shapes: dict[str, tuple[int, ...]]) -> Iterator[View]:
    """Axes that a matrix may mix (the last of `axes`), also head by head."""
    for path, shape in shapes.items():
        for axis, width in enumerate(shape):
            if width < 2:
                continue
            yield View(path, shape, (axis,))
            if len(shape) in (2, 3):
                for batch, heads in enumerate(shape):
                    if batch != axis and heads > 1:
                        yield View(path, shape, (batch, axis))


def split_views(view: View, sizes: set[int]) -> Iterator[View]:
    """The coarser views of one along a single axis: the divisors of its length.

    Strided ones only where another array has as many entries, contiguous ones always.
    """
    (length,) = view.units
    for units in range(2, length // 2 + 1):
        if length % units == 0:
            yield replace(view, split=(CONTIGUOUS, units))
            if units in sizes:
                yield replace(view, split=(STRIDED, units))


def _subsets(shape: tuple[int, ...], largest: int) -> Iterator[tuple[int, ...]]:
    wide = [axis for axis, length in enumerate(shape) if length > 1]
    for count in range(min(largest, len(wide)) + 1):
        yield from combinations(wide, count)
