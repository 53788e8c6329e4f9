"""Terms of a generator: how one view of an array moves, and its pairing with g."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np

from lagrangian.learning.discover.pieces import Piece
from lagrangian.learning.discover.units import (
    View,
    alike,
    matrix_views,
    scale_views,
    shift_views,
)

SCALE = "scale"
SHIFT = "shift"
#: One piece moves by another of the same shape, as the halves of a rotation do.
TURN = "turn"
#: b of the layer x W + b moves by what a shift of x contributes: xi_b = c W.
ABSORB = "absorb"
#: xi = theta G, for a symmetric or an antisymmetric matrix G on the view's last axis.
SYMMETRIC, ANTISYMMETRIC = "symmetric", "antisymmetric"
#: The same for antisymmetric matrices whose rows sum to zero: with a normalisation that
#: subtracts the mean, the residual stream may turn around the vector of ones.
CENTRED = "centred"
MATRICES = (SYMMETRIC, ANTISYMMETRIC, CENTRED)
#: What a number a unit moves; these share levels, since a generator may have them all.
AFFINE = "affine"

#: Entries of a matrix, and units of a view, that are sampled.
MATRIX_ENTRIES, MANY_UNITS = 8, 48
#: Entries of an array above which the squares of its products are sampled.
LARGE = 2**15
#: Biases are tried with kernels of other layers in models of at most so many pieces.
FEW_PIECES = 12


@dataclass(frozen=True)
class Draw:
    """Parameters and the gradient there, by path, and the pieces of them."""

    theta: Mapping[str, np.ndarray]
    gradient: Mapping[str, np.ndarray]
    _known: dict[Any, Any] = field(default_factory=dict)

    def piece(self, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
        """The parameters and the gradient of a piece."""
        if piece not in self._known:
            arrays = self.theta[piece.path], self.gradient[piece.path]
            self._known[piece] = tuple(piece.take(a) for a in arrays)
        return self._known[piece]

    def summed(self, piece: Piece, axes: tuple[int, ...]) -> np.ndarray:
        """The parameters of a piece, summed along axes; once for all that ask."""
        key = piece, axes
        if key not in self._known:
            self._known[key] = self.piece(piece)[0].sum(axes, keepdims=True)
        return self._known[key]


@dataclass(frozen=True)
class Term:
    """One view and its action.

    Attributes:
        view: of the piece whose units are numbered.
        action: one of the above.
        into: the piece that moves, where it is not the view's: the other half of a
            `TURN`, the bias of an `ABSORB`.
        kept: of an `ABSORB`, the axes of the view's piece that the bias has, too.
    """

    view: View
    action: str
    into: Piece | None = None
    kept: tuple[int, ...] = ()

    @property
    def moved(self) -> Piece:
        """The piece that moves."""
        return self.into or self.view.piece

    @property
    def path(self) -> str:
        """The array that moves."""
        return self.moved.path

    @property
    def is_matrix(self) -> bool:
        return self.action in MATRICES

    @property
    def level(self) -> tuple[str, tuple[int, ...]]:
        """Terms of one level have units that can move together, one by one."""
        return self.action if self.is_matrix else AFFINE, self.view.units

    def without(self, position: int) -> Term:
        return replace(self, view=self.view.without(position))

    # ---------------------------------------------------------------- sampling

    def pairing(self, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        """<g, xi> unit by unit, and the square of the same sum with random signs.

        Two arrays of one axis: the units, or a sample of them where they are many.
        """
        view = self.view
        if self.is_matrix:
            return self._matrix_pairing(draw)
        factors, axes, chosen = (
            self._factors(draw),
            view.axes,
            sampled_units(view.units),
        )
        if axes and len(axes) == len(view.shape):
            index = np.unravel_index(chosen, view.shape)
            values = _product([np.broadcast_to(f, view.shape)[index] for f in factors])
            return values, values**2
        if len(axes) == 1 and len(chosen) < view.units[0]:
            # Before the sums, which take as long as the rest is large.
            factors, chosen = _taken(factors, chosen, axes[0]), np.arange(len(chosen))
        elif not axes and view.size > LARGE:
            return self._of_whole(draw, factors)
        values = _product(factors)
        rest = tuple(a for a in range(values.ndim) if a not in axes)
        sums, squares = values.sum(rest), (values**2).sum(rest)
        return sums.reshape(-1)[chosen], squares.reshape(-1)[chosen]

    def _factors(self, draw: Draw) -> list[np.ndarray]:
        """Whose products are summed up, with axes of length 1 where one is spread."""
        gradient = draw.piece(self.moved)[1]
        if self.action == SHIFT:
            return [gradient]
        if self.action == ABSORB:
            gradient = self._spread(gradient)
        return [draw.piece(self.view.piece)[0], gradient]

    def _spread(self, values: Any) -> Any:
        """What has the kept axes of the view's piece, along its other axes."""
        shape = [n if a in self.kept else 1 for a, n in enumerate(self.view.shape)]
        return values.reshape(shape)

    def _of_whole(
        self, draw: Draw, factors: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sum of a large product, and the sum of its squares as a sample has it."""
        first, last = factors[0], factors[-1]
        if self.action == SHIFT:
            total = first.sum()
        elif self.action == ABSORB:
            spread = tuple(a for a, n in enumerate(last.shape) if n < first.shape[a])
            total = paired(draw.summed(self.view.piece, spread), last)
        else:
            total = paired(first, last)
        axis = int(np.argmax(first.shape))
        chosen = sampled_units(first.shape[axis : axis + 1])
        values = _product(_taken(factors, chosen, axis))
        share = len(chosen) / first.shape[axis]
        return np.array([total]), np.array([paired(values, values) / share])

    def _matrix_pairing(self, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        part, axes = self._part
        sign = 1 if self.action == SYMMETRIC else -1
        order = (*axes, *(a for a in range(len(self.view.shape)) if a not in axes))
        left, right = (a[part].transpose(order) for a in draw.piece(self.view.piece))
        left, right = (
            a.reshape(-1, a.shape[len(axes) - 1], prod(a.shape[len(axes) :]))
            for a in (left, right)
        )
        if self.action == CENTRED:
            left, right = (a - a.mean(axis=1, keepdims=True) for a in (left, right))
        above, below = _above(left.shape[1])
        outer = left @ right.swapaxes(1, 2)
        squares = left**2 @ (right**2).swapaxes(1, 2)
        sums = outer[:, above, below] + sign * outer[:, below, above]
        return sums.ravel(), (
            squares[:, above, below] + squares[:, below, above]
        ).ravel()

    @cached_property
    def _part(self) -> tuple[Any, tuple[int, ...]]:
        """The entries of a matrix's piece that are sampled, and the view's axes."""
        *heads, width = self.view.axes
        chosen = [np.arange(length) for length in self.view.shape]
        for axis in (*heads, width):
            most = MATRIX_ENTRIES if axis == width else 3
            chosen[axis] = _evenly(self.view.shape[axis], most)
        return np.ix_(*chosen), self.view.axes

    # ---------------------------------------------------------------- moving

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Of one element of a family: a number a unit, or a matrix a head."""
        units = self.view.units
        return (*units, units[-1]) if self.is_matrix else units

    def field(self, array: Any, chosen: Any) -> Any:
        """xi of the array `path` at the values `array` of the view's array.

        Args:
            array: NumPy or JAX.
            chosen: the element of the family, of `element_shape`; NumPy or JAX.
        """
        view = self.view
        if self.is_matrix:
            if self.action == CENTRED:
                chosen = chosen - chosen.mean(axis=-1, keepdims=True)
                chosen = chosen - chosen.mean(axis=-2, keepdims=True)
            return view.fold(chosen.swapaxes(-1, -2) @ view.unfold(array))
        numbers = np if isinstance(chosen, np.ndarray) else jnp
        spread = numbers.broadcast_to(chosen[..., None], (*view.units, view.size))
        if self.action == SHIFT:
            return view.fold(spread)
        values = view.fold_piece(spread) * view.piece.take(array)
        if self.action == ABSORB:
            gone = (a for a in range(len(view.shape)) if a not in self.kept)
            values = values.sum(tuple(gone))
        return self.moved.place(values)


def terms_of(pieces: Sequence[Piece]) -> list[Term]:
    """Every term of these pieces."""
    terms: list[Term] = []
    for piece in pieces:
        terms += [Term(view, SCALE) for view in scale_views(piece)]
        terms += [Term(view, SHIFT) for view in shift_views(piece)]
        for view in matrix_views(piece):
            terms += [Term(view, SYMMETRIC), Term(view, ANTISYMMETRIC)]
            if len(view.units) == 1 and view.units[0] > 3:
                terms.append(Term(view, CENTRED))
    for source, moved in alike(pieces):
        terms += [Term(view, TURN, moved) for view in scale_views(source)]
    return _companions([*terms, *_absorbing(pieces)])


def _absorbing(pieces: Sequence[Piece]) -> Iterator[Term]:
    """Kernels with biases that have some of their axes, of the same layer."""
    for kernel in pieces:
        layer = kernel.path.rpartition(".")[0]
        for bias in pieces:
            near = bias.path.rpartition(".")[0] == layer or len(pieces) <= FEW_PIECES
            if bias.path == kernel.path or not near:
                continue
            for kept in combinations(range(len(kernel.shape)), len(bias.shape)):
                rest = tuple(a for a in range(len(kernel.shape)) if a not in kept)
                if rest and tuple(kernel.shape[a] for a in kept) == bias.shape:
                    for axes in {(), rest, *((a,) for a in rest)}:
                        yield Term(View(kernel, axes), ABSORB, bias, kept)


def _companions(terms: Iterable[Term]) -> list[Term]:
    """Drop the pairs of axes whose units no other piece has.

    Scales of single entries, and of a head's entries, mean something only where two
    pieces share them.
    """
    terms = list(terms)
    movers: dict[Any, set[Piece]] = {}
    for term in terms:
        if term.action != SHIFT:
            movers.setdefault(term.level, set()).add(term.moved)
    return [
        t
        for t in terms
        if len(t.view.axes) < 2 or t.action == SHIFT or len(movers[t.level]) > 1
    ]


def paired(left: Any, right: Any) -> float:
    """The sum of all products of the entries of two arrays of one shape.

    Not by BLAS, whose threads wait for each other longer than such a sum takes.
    """
    left, right = np.asarray(left), np.asarray(right)
    axes = list(range(left.ndim))
    return float(np.einsum(left, axes, right, axes, []))


def _product(factors: Sequence[np.ndarray]) -> np.ndarray:
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _taken(
    factors: Sequence[np.ndarray], chosen: np.ndarray, axis: int
) -> list[np.ndarray]:
    """The factors at some places along an axis."""
    return [f if f.shape[axis] == 1 else f.take(chosen, axis) for f in factors]


@cache
def _above(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the entries above the diagonal are."""
    return np.triu_indices(size, 1)


@cache
def sampled_units(units: tuple[int, ...]) -> np.ndarray:
    """Units that are sampled."""
    total = prod(units)
    if total <= MANY_UNITS:
        return np.arange(total)
    return np.random.default_rng(total).choice(total, MANY_UNITS, replace=False)


def _evenly(length: int, most: int) -> np.ndarray:
    """At most so many indices, from all over the axis."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(int))
