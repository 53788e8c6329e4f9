"""The members of a found family, whose charges are observed all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from math import isqrt, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian.learning.discover.terms import (
    ABSORB,
    CENTRED,
    SHIFT,
    SYMMETRIC,
    Term,
)
from lagrangian.lowering.bilinear import Bilinear
from lagrangian.symbolic.algebra.content import ByContent

#: Entries of the matrices of a family. Of larger ones a compression is observed.
MOST_CHARGES = 2048
#: Entries of the matrices of all members that are tried for what is zero, and summands
#: up to which the charges are data: of more, products of matrices are faster.
MOST_TRIED, MOST_SUMMANDS = 2**18, 2**10


@dataclass(frozen=True, eq=False)
class Members(ByContent):
    """What terms move by, as linear maps of one array, or of the number 1.

    One map for each unit; or, where matrices mix the units, for each i and j the
    symmetric or antisymmetric part (s_i s_j^T + s_j s_i^T) / 2 of s_i s_j^T. The
    columns s of `frame` are the unit vectors, so that the charges are the entries of a
    matrix P, such as W1^T W1 - W2 W2^T. Where that has more than `MOST_CHARGES` of
    them, they are fewer orthonormal vectors, drawn at random: the charges are then
    S^T P S, and what is wrong anywhere in P is wrong in every entry of that.

    As a function it is one element of the family, drawn at random.

    Attributes:
        terms: with their coefficients; all take the same array, or all are shifts.
        chosen: that element.
    """

    terms: tuple[tuple[Term, float], ...]
    chosen: np.ndarray

    def _content(self) -> tuple[Any, ...]:
        return Members, self.terms, self.chosen.shape, self.chosen.tobytes()

    @property
    def domain(self) -> tuple[int, ...]:
        """The shape of what it takes."""
        return () if self._is_shift else self._first.view.piece.whole

    @property
    def _first(self) -> Term:
        return self.terms[0][0]

    @property
    def _is_shift(self) -> bool:
        return self._first.action == SHIFT

    def __call__(self, array: Any) -> Any:
        return self._moved(array, self.chosen.astype(array.dtype))

    def _moved(self, array: Any, chosen: Any) -> Any:
        moved = sum(c * term.field(array, chosen) for term, c in self.terms)
        return moved * array if self._is_shift else moved

    # ---------------------------------------------------------------- members

    @cached_property
    def frame(self) -> np.ndarray:
        """Orthonormal columns, between which the matrices are."""
        *heads, width = self._first.view.units
        space = np.eye(width)
        if self._first.action == CENTRED:
            # Next to the vector of ones.
            space = np.linalg.svd(np.ones((1, width)))[2][1:].T
        most = max(2, isqrt(MOST_CHARGES // prod(heads)))
        if space.shape[1] <= most:
            return space
        mixed = np.random.default_rng(width).standard_normal((space.shape[1], most))
        return space @ np.linalg.qr(mixed)[0]

    @property
    def _sign(self) -> int:
        return 1 if self._first.action == SYMMETRIC else -1

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the charges: units, or heads and the k x k entries of a matrix."""
        units = self._first.view.units
        if not self._first.is_matrix:
            return units
        size = self.frame.shape[1]
        return (*units[:-1], size, size)

    def member(self, m: Any) -> Callable[[Any], Any]:
        """One of the maps, by its number in the flat array; `m` may be traced."""
        chosen = jnp.zeros(prod(self.shape)).at[m].set(1.0).reshape(self.shape)
        if self._first.is_matrix:
            frame = jnp.asarray(self.frame, chosen.dtype)
            chosen = (chosen + self._sign * chosen.swapaxes(-1, -2)) / 2
            chosen = frame @ chosen @ frame.T
        return lambda array: self._moved(array, chosen.astype(array.dtype))

    def paired(self, x: Any, y: Any) -> Any:
        """<x, A_m y> for every member; that is <A_m, y x^T> of matrices."""
        x, y = _long(x), _long(y)
        return self._paired((f(x), g(y)) for f, g in map(self._sides, self._terms))

    def squared(self, x: Any, y: Any) -> Any | None:
        """<A_m x, A_m y> for every member, where no two terms move the same entries."""
        pieces = [term.moved for term in self._terms]
        if any(_overlap(one, other) for one, other in combinations(pieces, 2)):
            return None
        x, y = _long(x), _long(y)
        return sum(c**2 * self._squares(t, x, y) for t, c in self.terms)

    def bilinear(self, how: str) -> Bilinear | None:
        """What "paired" or "squared" computes, as data; None where that is large."""
        return self._bilinear[how]

    @cached_property
    def _bilinear(self) -> dict[str, Bilinear | None]:
        codomain = self._first.moved.whole
        shapes = codomain, self.domain
        sizes = [prod(shape) for shape in shapes]
        if prod(sizes) * prod(self.shape) > MOST_TRIED:
            return {"paired": None, "squared": None}
        # The entries (i, j) of all matrices A_m are what they make of unit vectors.
        x, y = (np.eye(n).reshape(n, *s) for n, s in zip(sizes, shapes, strict=True))
        sides = (
            (np.stack([*map(f, x)])[:, None], np.stack([*map(g, y)]))
            for f, g in map(self._sides, self._terms)
        )
        matrices = np.moveaxis(self._paired(sides), (0, 1), (-2, -1))
        forms = {
            "paired": Bilinear.of_matrices(matrices, shapes),
            "squared": Bilinear.of_matrices(
                matrices.swapaxes(-1, -2) @ matrices, (self.domain, self.domain)
            ),
        }
        return {
            how: form if len(form.weights) <= MOST_SUMMANDS else None
            for how, form in forms.items()
        }

    @property
    def _terms(self) -> list[Term]:
        return [term for term, _ in self.terms]

    def _sides(self, term: Term) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """What is made of x and of y before they are multiplied."""
        if term.is_matrix:
            return partial(self._rows, term), partial(self._rows, term)
        return partial(_moved_by_unit, term), partial(_by_unit, term)

    def _paired(self, sides: Iterable[tuple[Any, Any]]) -> Any:
        """From both sides of each term; axes before the units are kept."""
        slopes = sum(
            c * (y @ x.swapaxes(-1, -2) if term.is_matrix else (y * x).sum(-1))
            for (term, c), (x, y) in zip(self.terms, sides, strict=True)
        )
        if not self._first.is_matrix:
            return slopes
        return (slopes + self._sign * slopes.swapaxes(-1, -2)) / 2

    def _squares(self, term: Term, x: Any, y: Any) -> Any:
        if not term.is_matrix:
            return (_by_unit(term, x) * _by_unit(term, y)).sum(-1)
        lengths = (self._rows(term, x) * self._rows(term, y)).sum(-1)
        squares = (lengths[..., :, None] + lengths[..., None, :]) / 4
        # Those of i = i are 1 or 0 at one place, in place of 1/2 or 1/2 - 1/2 at two.
        diagonal = self._sign * np.eye(self.shape[-1], dtype=lengths.dtype) / 2
        return squares + diagonal * lengths[..., None]

    def _rows(self, term: Term, array: Any) -> Any:
        """The units that matrices mix, head by head, between the frame's columns."""
        units = term.view.unfold(array)
        if self.frame.shape[0] == self.frame.shape[1]:
            return units
        return self.frame.T.astype(units.dtype) @ units

    def written(self, m: int) -> str:
        """Which entry of which matrix a charge is, in words."""
        entry = tuple(map(int, np.unravel_index(m, self.shape)))
        text = f"{' x '.join(map(str, self.shape))} charges, entry {entry}"
        is_part = self.frame.shape[1] < self._first.view.units[-1] - 1
        return f"{text} of S^T P S, with S at random" if is_part else text


def _moved_by_unit(term: Term, array: Any) -> Any:
    """The entries that a term moves, an array (units..., entries)."""
    moved = term.moved.take(_numbers(array).broadcast_to(array, term.moved.whole))
    if term.action == ABSORB:
        return moved.reshape(*(1 for _ in term.view.units), -1)
    return term.view.unfold_piece(moved)


def _by_unit(term: Term, array: Any) -> Any:
    """What each unit moves by, an array (units..., entries)."""
    view = term.view
    if term.action == SHIFT:
        return _numbers(array).broadcast_to(array, (*view.units, view.size))
    if term.action != ABSORB:
        return view.unfold(array)
    values = view.piece.take(array)
    own = (*view.axes, *term.kept)
    gone = tuple(a for a in range(values.ndim) if a not in own)
    summed = values.transpose(*own, *gone).sum(tuple(range(len(own), values.ndim)))
    return summed.reshape(*view.units, -1)


def _overlap(one: Any, other: Any) -> bool:
    """Whether two pieces have entries in common."""
    if one.path != other.path:
        return False
    return one == other or np.intersect1d(one.index, other.index).size > 0


def _numbers(array: Any) -> Any:
    """NumPy or JAX, whichever the array is of."""
    return jnp if isinstance(array, jax.Array) else np


def _long(array: Any) -> Any:
    """In single precision at least, in which sums are made."""
    array = jnp.asarray(array)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
