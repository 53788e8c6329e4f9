"""Terms of a generator: how one view of an array moves, and its pairing with g."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lagrangian.learning.discover.units import (
    View,
    matrix_views,
    scale_views,
    shift_views,
    split_views,
)

SCALE = "scale"
SHIFT = "shift"
#: b of the layer x W + b moves by what a shift of x contributes: xi_b = c W.
ABSORB = "absorb"
#: xi = theta G, for a symmetric or an antisymmetric matrix G on the view's last axis.
SYMMETRIC, ANTISYMMETRIC = "symmetric", "antisymmetric"

#: Entries of a matrix, and units of a view with several axes, that are sampled.
MATRIX_ENTRIES, MANY_UNITS = 8, 48


@dataclass(frozen=True)
class Draw:
    """Parameters and the gradient there, by path, with the products that terms sum."""

    theta: Mapping[str, np.ndarray]
    gradient: Mapping[str, np.ndarray]

    @cached_property
    def squares(self) -> dict[str, np.ndarray]:
        """Of the gradient."""
        return {path: g**2 for path, g in self.gradient.items()}

    @cached_property
    def products(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """theta g, and its square."""
        products = {path: self.theta[path] * g for path, g in self.gradient.items()}
        return {path: (p, p**2) for path, p in products.items()}


@dataclass(frozen=True)
class Term:
    """One view and its action.

    An `ABSORB` term moves the array `into`, which has the last `tail` axes of the view.
    """

    view: View
    action: str
    into: str | None = None
    tail: int = 0

    @property
    def path(self) -> str:
        """The array that moves."""
        return self.into or self.view.path

    @property
    def level(self) -> tuple[str, tuple[int, ...]]:
        """Terms of one level have units that can move together, one by one."""
        family = SHIFT if self.action == ABSORB else self.action
        return family, self.view.units

    def without(self, position: int) -> Term:
        return replace(self, view=self.view.without(position))

    def splits(self, kind: str, units: int) -> Term | None:
        view = self.view.splits(kind, units)
        return None if view is None else replace(self, view=view)

    # ---------------------------------------------------------------- sampling

    def pairing(self, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        """<g, xi> unit by unit, and the square of the same sum with random signs.

        Two arrays of one axis: the units, or a sample of them where they are many.
        Only for views that are not split: `View.group` derives those.
        """
        view = self.view
        if self.action in (SYMMETRIC, ANTISYMMETRIC):
            return self._matrix_pairing(draw)
        if self.action == SHIFT:
            values, squares = draw.gradient[view.path], draw.squares[view.path]
        elif self.action == SCALE:
            values, squares = draw.products[view.path]
        else:
            values = draw.theta[view.path] * draw.gradient[self.path]
            squares = values**2
        rest = tuple(a for a in range(values.ndim) if a not in view.axes)
        chosen = _sample(view.units)
        if rest:
            values, squares = values.sum(rest), squares.sum(rest)
        return values.reshape(-1)[chosen], squares.reshape(-1)[chosen]

    def _matrix_pairing(self, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        part, view = self._part
        sign = 1 if self.action == SYMMETRIC else -1
        rows = view.units[-1]
        left, right = (
            view.unfold(a[self.view.path][part]).reshape(-1, rows, view.size)
            for a in (draw.theta, draw.gradient)
        )
        above, below = np.triu_indices(rows, 1)
        outer = left @ right.swapaxes(1, 2)
        squares = left**2 @ (right**2).swapaxes(1, 2)
        sums = outer[:, above, below] + sign * outer[:, below, above]
        return sums.ravel(), (
            squares[:, above, below] + squares[:, below, above]
        ).ravel()

    @cached_property
    def _part(self) -> tuple[Any, View]:
        """The entries of a matrix's array that are sampled, and their view."""
        *heads, width = self.view.axes
        chosen = [np.arange(length) for length in self.view.shape]
        for axis in (*heads, width):
            most = MATRIX_ENTRIES if axis == width else 3
            chosen[axis] = _spread(self.view.shape[axis], most)
        shape = tuple(map(len, chosen))
        return np.ix_(*chosen), replace(self.view, shape=shape)

    # ---------------------------------------------------------------- moving

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Of one element of a family: a number a unit, or a matrix a head."""
        units = self.view.units
        return units if self.action in (SCALE, SHIFT, ABSORB) else (*units, units[-1])

    def field(self, array: Any, chosen: Any) -> Any:
        """xi of the array `path` at the values `array` of the view's array.

        Args:
            array: NumPy or JAX.
            chosen: the element of the family, of `element_shape`.
        """
        view = self.view
        if self.action in (SYMMETRIC, ANTISYMMETRIC):
            unfolded = view.unfold(array)
            return view.fold(chosen.swapaxes(-1, -2) @ unfolded)
        spread = np.broadcast_to(chosen[..., None], (*view.units, view.size))
        if self.action == SHIFT:
            return view.fold(spread)
        moved = view.fold(spread) * array
        if self.action == SCALE:
            return moved
        return moved.sum(tuple(range(moved.ndim - self.tail)))


def base_terms(shapes: Mapping[str, tuple[int, ...]]) -> list[Term]:
    """Every term whose view is not split."""
    shapes = dict(shapes)
    terms = [Term(view, SCALE) for view in scale_views(shapes)]
    terms += [Term(view, SHIFT) for view in shift_views(shapes)]
    terms += _absorbing(shapes)
    for view in matrix_views(shapes):
        terms += [Term(view, SYMMETRIC), Term(view, ANTISYMMETRIC)]
    return _companions(terms)


def split_terms(term: Term, sizes: set[int]) -> Iterator[Term]:
    """The same on coarser units, which cost no further sampling."""
    if term.action in (SCALE, SHIFT) and len(term.view.axes) == 1:
        for view in split_views(term.view, sizes):
            yield replace(term, view=view)


def _absorbing(shapes: dict[str, tuple[int, ...]]) -> Iterator[Term]:
    """Kernels with the bias of their own layer: siblings whose last axes agree."""
    for kernel, shape in shapes.items():
        layer = kernel.rpartition(".")[0]
        for bias, width in shapes.items():
            if bias == kernel or bias.rpartition(".")[0] != layer:
                continue
            lead = len(shape) - len(width)
            if lead < 1 or shape[lead:] != width:
                continue
            for axes in {tuple(range(lead)), (lead - 1,)}:
                yield Term(View(kernel, shape, axes), ABSORB, bias, len(width))


def _companions(terms: list[Term]) -> list[Term]:
    """Drop the pairs of axes whose units no array of another path has.

    Scales of single entries, and of a head's entries, mean something only where two
    arrays share them.
    """
    paths: dict[Any, set[str]] = {}
    for term in terms:
        paths.setdefault(term.level, set()).add(term.path)
    return [
        t
        for t in terms
        if len(t.view.axes) < 2 or t.action == SHIFT or len(paths[t.level]) > 1
    ]


def _sample(units: tuple[int, ...]) -> Any:
    """Units that are sampled: all along one axis, some of those along several."""
    total = int(np.prod(units, dtype=int))
    if len(units) < 2 or total <= MANY_UNITS:
        return np.arange(total)
    return np.random.default_rng(total).choice(total, MANY_UNITS, replace=False)


def _spread(length: int, most: int) -> np.ndarray:
    """At most so many indices, from all over the axis."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(int))
