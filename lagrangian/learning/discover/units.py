"""Views: which entries of a piece move together, unit by unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from lagrangian.learning.discover.pieces import Piece


@dataclass(frozen=True)
class View:
    """A piece seen as units, each of which a generator moves as a whole.

    Attributes:
        piece: of an array, or all of it.
        axes: those of the piece that number the units; the others are within a unit.
    """

    piece: Piece
    axes: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        return self.piece.path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.piece.shape

    @cached_property
    def units(self) -> tuple[int, ...]:
        """How many units along each of `axes`."""
        return tuple(self.shape[a] for a in self.axes)

    @cached_property
    def size(self) -> int:
        """Entries in a unit."""
        return prod(self.shape) // prod(self.units)

    @property
    def _order(self) -> tuple[int, ...]:
        """The axes of the units, then the others."""
        rest = tuple(a for a in range(len(self.shape)) if a not in self.axes)
        return self.axes + rest

    def unfold(self, array: Any) -> Any:
        """The piece of an array as (units..., entries of a unit)."""
        return self.unfold_piece(self.piece.take(array))

    def unfold_piece(self, values: Any) -> Any:
        """The piece as (units..., entries of a unit)."""
        return values.transpose(self._order).reshape(*self.units, self.size)

    def fold(self, unfolded: Any) -> Any:
        """The inverse of `unfold`: an array, zero outside of the piece."""
        return self.piece.place(self.fold_piece(unfolded))

    def fold_piece(self, unfolded: Any) -> Any:
        """The inverse of `unfold_piece`."""
        grid = unfolded.reshape(tuple(self.shape[a] for a in self._order))
        return grid.transpose(np.argsort(self._order))

    def without(self, position: int) -> View:
        """Units along one axis less: what differs along it now moves together."""
        return replace(self, axes=self.axes[:position] + self.axes[position + 1 :])

    @cached_property
    def axis_by_units(self) -> dict[tuple[int, ...], int]:
        """Where all factors of an axis of the array number units: which units these
        are.

        Maps positions in `units` to the axis.
        """
        origins = self.piece.origins
        found = {}
        for axis in {origins[a] for a in self.axes}:
            factors = [a for a, origin in enumerate(origins) if origin == axis]
            if all(a in self.axes for a in factors):
                found[tuple(self.axes.index(a) for a in factors)] = axis
        return found

    @property
    def has_whole_axes(self) -> bool:
        """Whether the units are those of axes of the array, and no groups of them."""
        return sum(map(len, self.axis_by_units)) == len(self.axes)

    @property
    def is_one_axis(self) -> bool:
        """Whether the units are all those of one axis."""
        return len(self.axis_by_units) == 1 and self.has_whole_axes

    def index(self, flat: bool = False) -> str:
        """How one unit is written: `[..., k]`, `[k, ...]`, or nothing for the whole.

        Args:
            flat: the units of one axis have one number, though that axis has factors.
        """
        if flat and self.is_one_axis:
            names = ["k"] * len(self.axes)
        elif len(self.axes) == 1:
            names = ["k"]
        else:
            names = [f"k{i}" for i in range(1, len(self.axes) + 1)]
        return self.piece.written(dict(zip(self.axes, names, strict=True)))


def scale_views(piece: Piece) -> Iterator[View]:
    """The whole, single axes, the factors of an axis, and pairs that name a head."""
    yield View(piece)
    axes, origins = range(len(piece.shape)), piece.origins
    chosen: set[tuple[int, ...]] = {(a,) for a in axes}
    for pair in combinations(axes, 2):
        if len(piece.shape) < 4 or len({origins[a] for a in pair}) == 1:
            chosen.add(pair)
    for origin in set(origins):
        chosen.add(tuple(a for a in axes if origins[a] == origin))
    for subset in sorted(chosen):
        yield View(piece, subset)


def shift_views(piece: Piece) -> Iterator[View]:
    """Every set of axes along which the entries of a piece may shift together."""
    axes = range(len(piece.shape))
    for count in range(len(axes) + 1):
        for subset in combinations(axes, count):
            yield View(piece, subset)


def matrix_views(piece: Piece) -> Iterator[View]:
    """Axes that a matrix may mix (the last of `axes`), also head by head."""
    origins = piece.origins
    for axis in range(len(piece.shape)):
        yield View(piece, (axis,))
        for heads in range(len(piece.shape)):
            near = len(piece.shape) < 4 or origins[heads] == origins[axis]
            if heads != axis and near:
                yield View(piece, (heads, axis))


def alike(pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Piece]]:
    """Pairs of one shape in one layer, both ways: they may turn into each other."""
    groups: dict[tuple[str, tuple[int, ...]], list[Piece]] = {}
    for piece in pieces:
        layer = piece.path.rpartition(".")[0]
        groups.setdefault((layer, piece.shape), []).append(piece)
    for group in groups.values():
        if 1 < len(group) <= MOST_ALIKE:
            for one, other in combinations(group, 2):
                yield one, other
                yield other, one


#: Pieces of one shape in one layer, beyond which they are not tried against each other.
MOST_ALIKE = 8
