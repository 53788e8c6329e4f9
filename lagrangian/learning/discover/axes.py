"""Axes of arrays that meet in a program, and how they are cut there.

An axis of length n may be reshaped into several (its factors) or sliced into several
(its segments). What is done to one is done to all axes that run along with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise, product
from math import prod
from typing import NamedTuple

#: More parts of one array than these are no parts of a layer: positions, pixels.
MOST_PARTS = 48


class Cut(NamedTuple):
    """One part of a flat array: its first entry, and (length, stride) of its axes."""

    start: int
    factors: tuple[tuple[int, int], ...]


class _Part(NamedTuple):
    """A cut of an axis, with what the axes beside it become there."""

    start: int
    factors: tuple[tuple[int, int], ...]
    beside: tuple[tuple[Axis, Axis], ...] = ()


class Axis:
    """One axis, or several that were found to run along with each other."""

    def __init__(self, length: int, like: Axis | None = None):
        self.length = length
        self._same: Axis | None = None
        self._factors: list[Axis] = []
        self._segments: list[Axis] = []
        #: The axes of which this one is a factor.
        self._wholes: list[Axis] = []
        #: In this segment only, another axis of the array goes its own way.
        self._beside: list[tuple[Axis, Axis]] = []
        #: Cut as this one, unless it has cuts of its own.
        self._like = like

    def root(self) -> Axis:
        """The axis that stands for all that run along with this one."""
        axis = self
        while axis._same is not None:
            axis = axis._same
        if axis is not self:
            self._same = axis
        return axis

    def join(self, other: Axis) -> None:
        """Both run along with each other, if they are of one length."""
        if self.length == other.length != 1:
            self._join(other)

    def _join(self, other: Axis) -> None:
        one, two = self.root(), other.root()
        if one is two:
            return
        two._same = one
        factors, segments = two._factors, two._segments
        two._factors, two._segments = [], []
        one._wholes += two._wholes
        one._beside += two._beside
        one._like = one._like or two._like
        if factors:
            one.factor(factors)
        if segments:
            one.segment(segments)

    def has_whole_with(self, other: Axis) -> bool:
        """Whether both are factors of one array, or of one axis."""
        wholes = {id(w.root()) for w in self.root()._wholes}
        return any(id(w.root()) in wholes for w in other.root()._wholes)

    def apart(self, other: Axis) -> Axis:
        """The axis `other` of the same array where only this segment of it is left."""
        own = Axis(other.length, like=other)
        self.root()._beside.append((other, own))
        return own

    def factor(self, parts: Sequence[Axis]) -> None:
        """The axis is the product of these, as by `reshape`."""
        axis, parts = self.root(), [p for p in parts if p.length > 1]
        if prod(p.length for p in parts) != axis.length or not parts:
            return
        if len(parts) == 1:
            axis.join(parts[0])
            return
        for part in parts:
            part.root()._wholes.append(axis)
        old, axis._factors = axis._factors, list(parts)
        if not old:
            return
        # Strides that both know; each has to divide the next.
        marks = [
            accumulate((p.length for p in reversed(side)), int.__mul__)
            for side in (old, parts)
        ]
        strides = sorted({1, *marks[0], *marks[1]})
        if any(after % before for before, after in pairwise(strides)):
            axis._factors = old
            return
        finest = [Axis(after // before) for before, after in pairwise(strides)][::-1]
        axis._factors = finest
        for part in finest:
            part._wholes.append(axis)
        for side in (old, parts):
            place = 0
            for part in side:
                group, length = [], 1
                while length < part.length:
                    group.append(finest[place])
                    length *= finest[place].length
                    place += 1
                part.factor(group)

    def segment(self, parts: Sequence[Axis]) -> None:
        """The axis is a row of these, as by `split` or `concatenate`."""
        axis, parts = self.root(), [p for p in parts if p.length > 0]
        if sum(p.length for p in parts) != axis.length or not parts:
            return
        if len(parts) == 1:
            axis._join(parts[0])
            return
        old, axis._segments = axis._segments, list(parts)
        if not old:
            return
        marks = [[0, *accumulate(p.length for p in side)] for side in (old, parts)]
        ends = sorted({*marks[0], *marks[1]})
        finest = [Axis(after - before) for before, after in pairwise(ends)]
        axis._segments = finest
        for side in (old, parts):
            place = 0
            for part in side:
                group, length = [], 0
                while length < part.length:
                    group.append(finest[place])
                    length += finest[place].length
                    place += 1
                part.segment(group)

    def cuts(self) -> list[Cut]:
        """The parts, each with its own factors; the whole where there are too many."""
        found = self.root()._cuts()
        if len(found) > MOST_PARTS:
            return []
        return [Cut(part.start, part.factors) for part in found]

    def _cuts(self) -> list[_Part]:
        if self._segments:
            return list(self._in_a_row())
        if self._factors:
            options = [p.root()._cuts() for p in self._factors]
            return list(self._products(options))
        if self._like is not None:
            return self._like.root()._cuts()
        return [_Part(0, ((self.length, 1),) if self.length > 1 else ())]

    def _in_a_row(self) -> Iterator[_Part]:
        segments, start = self._segments, 0
        if self._factors and self._factors[0].length == len(segments):
            # The same cut as that of the first factor: each has the other factors.
            for part in segments:
                part.factor(self._factors[1:])
        for part in segments:
            beside = tuple(part.root()._beside)
            for cut in part.root()._cuts():
                yield _Part(start + cut.start, cut.factors, (*cut.beside, *beside))
            start += part.length

    def _products(self, options: list[list[_Part]]) -> Iterator[_Part]:
        strides = list(
            accumulate((p.length for p in reversed(self._factors)), int.__mul__)
        )
        steps = [*strides[:-1][::-1], 1]
        roots = [p.root() for p in self._factors]
        for chosen in product(*options):
            own = {id(a.root()): b for part in chosen for a, b in part.beside}
            changed = [i for i, r in enumerate(roots) if id(r) in own]
            if changed:
                if any(chosen[i] is not options[i][0] for i in changed):
                    continue
                choices = [[part._replace(beside=())] for part in chosen]
                for i in changed:
                    choices[i] = own[id(roots[i])].root()._cuts()
                yield from self._products(choices)
                continue
            start, factors = 0, []
            for part, step in zip(chosen, steps, strict=True):
                start += part.start * step
                factors += [(length, stride * step) for length, stride in part.factors]
            outer = tuple(b for part in chosen for b in part.beside)
            yield _Part(start, tuple(factors), outer)


def meet(one: Sequence[Axis], other: Sequence[Axis]) -> None:
    """The axes of two arrays run along with each other, pair by pair."""
    for first, second in zip(one, other, strict=True):
        first.join(second)


def reshape(before: Sequence[Axis], after: Sequence[Axis]) -> None:
    """Axes of an array before and after a reshape, in groups of equal size."""
    old = [a for a in before if a.length != 1]
    new = [a for a in after if a.length != 1]
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        sizes = left[0].length, right[0].length
        while sizes[0] != sizes[1]:
            side, rest = (left, old) if sizes[0] < sizes[1] else (right, new)
            if not rest:
                return
            side.append(rest.pop(0))
            sizes = prod(a.length for a in left), prod(a.length for a in right)
        if len(left) == 1:
            left[0].factor(right)
        elif len(right) == 1:
            right[0].factor(left)
        else:
            whole = Axis(sizes[0])
            whole.factor(left)
            whole.factor(right)
