"""The members of a found family, whose charges are observed all together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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
from lagrangian.symbolic.algebra.content import ByContent

#: Charges of one family of matrices. Of larger ones a compression is observed.
MOST_CHARGES = 1024


@dataclass(frozen=True, eq=False)
class Members(ByContent):
    """What terms move by, as linear maps of one array, or of the number 1.

    One map for each unit; or, where matrices mix the units, for each pair i <= j of
    (s_i s_j^T + s_j s_i^T) / 2, or for each i < j of that with a minus. The columns s
    of `frame` are the unit vectors, so that the charges are the entries of a matrix P,
    such as W1^T W1 - W2 W2^T. Where that has more than `MOST_CHARGES` of them, they are
    fewer orthonormal vectors, drawn at random: the charges are then S^T P S, and what
    is wrong anywhere in P is wrong in every entry of that.

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
        most = max(2, isqrt(2 * MOST_CHARGES // prod(heads)))
        if space.shape[1] <= most:
            return space
        mixed = np.random.default_rng(width).standard_normal((space.shape[1], most))
        return space @ np.linalg.qr(mixed)[0]

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        is_symmetric = self._first.action == SYMMETRIC
        return np.triu_indices(self.frame.shape[1], 0 if is_symmetric else 1)

    @property
    def _sign(self) -> int:
        return 1 if self._first.action == SYMMETRIC else -1

    @cached_property
    def count(self) -> int:
        """How many members there are."""
        *heads, width = self._first.view.units or (1,)
        if self._first.is_matrix:
            return prod(heads) * len(self._pairs[0])
        return prod(heads) * width

    def member(self, m: Any) -> Callable[[Any], Any]:
        """One of the maps; `m` may be traced."""
        shape = self._first.element_shape
        if not self._first.is_matrix:
            chosen = jnp.zeros(prod(shape)).at[m].set(1.0)
        else:
            head, pair = jnp.divmod(m, len(self._pairs[0]))
            one, other = (
                jnp.asarray(self.frame.T)[p[pair]]
                for p in map(jnp.asarray, self._pairs)
            )
            outer = jnp.outer(one, other)
            matrix = (outer + self._sign * outer.T) / 2
            chosen = jnp.zeros((prod(shape[:-2]), *matrix.shape)).at[head].set(matrix)
        chosen = chosen.reshape(shape)
        return lambda array: self._moved(array, chosen.astype(array.dtype))

    def paired(self, x: Any, y: Any) -> Any:
        """<x, A_m y> for every member: the transpose of A_m y as a function of A_m."""
        x, y = _long(x), _long(y)
        shape = jax.ShapeDtypeStruct(self._first.element_shape, y.dtype)
        moved = jax.eval_shape(lambda chosen: self._moved(y, chosen), shape)
        back = jax.linear_transpose(lambda chosen: self._moved(y, chosen), shape)
        (slopes,) = back(jnp.broadcast_to(x, moved.shape).astype(moved.dtype))
        if not self._first.is_matrix:
            return slopes.reshape(-1)
        frame = self.frame.astype(slopes.dtype)
        if frame.shape[0] > frame.shape[1]:
            slopes = frame.T @ slopes @ frame
        i, j = self._pairs
        return ((slopes[..., i, j] + self._sign * slopes[..., j, i]) / 2).reshape(-1)

    def squared(self, x: Any, y: Any) -> Any | None:
        """<A_m x, A_m y> for every member, where no two terms move the same entries."""
        pieces = [term.moved for term, _ in self.terms]
        if any(_overlap(one, other) for one, other in combinations(pieces, 2)):
            return None
        x, y = _long(x), _long(y)
        return sum(c**2 * self._squares(t, x, y) for t, c in self.terms)

    def _squares(self, term: Term, x: Any, y: Any) -> Any:
        if not term.is_matrix:
            one, other = (_by_unit(term, a) for a in (x, y))
            return (one * other).sum(-1).reshape(-1)
        one, other = (
            term.view.unfold(jnp.broadcast_to(a, self.domain)) for a in (x, y)
        )
        if self.frame.shape[0] > self.frame.shape[1]:
            frame = self.frame.T.astype(one.dtype)
            one, other = frame @ one, frame @ other
        lengths = (one * other).sum(-1)
        i, j = self._pairs
        squares = (lengths[..., i] + lengths[..., j]) / 4
        return (squares + jnp.where(i == j, lengths[..., i] / 2, 0)).reshape(-1)

    def written(self, m: int) -> str:
        """Which entry of which matrix a charge is, in words."""
        *heads, width = self._first.view.units
        size, (i, j) = self.frame.shape[1], self._pairs
        head, pair = divmod(m, len(i))
        place = *np.unravel_index(head, tuple(heads)), i[pair], j[pair]
        shape = " x ".join(map(str, (*heads, size, size)))
        text = f"{self.count} charges, {shape}, entry {tuple(map(int, place))}"
        return text if size >= width - 1 else f"{text} of S^T P S, with S at random"

    def as_matrices(self, charges: Any) -> np.ndarray:
        """Charges of the last axis as matrices, in place of that axis."""
        *heads, _ = self._first.view.units
        size, (i, j) = self.frame.shape[1], self._pairs
        values = np.asarray(charges)
        values = values.reshape(*values.shape[:-1], *heads, len(i))
        whole = np.zeros((*values.shape[:-1], size, size), values.dtype)
        whole[..., j, i] = self._sign * values
        whole[..., i, j] = values
        return whole


def _by_unit(term: Term, array: Any) -> Any:
    """What each unit moves by, an array (units..., entries)."""
    view = term.view
    if term.action == SHIFT:
        return jnp.broadcast_to(array, (*view.units, view.size))
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


def _long(array: Any) -> Any:
    """In single precision at least, in which sums are made."""
    array = jnp.asarray(array)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
