"""Symmetries that no family has: solved for among all affine fields of a few arrays.

Where the census counts more directions than were found, and few parameters are
involved, the fields A theta + b that leave the loss alone are one null space, whatever
they look like. Its vectors of least support are written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.linalg import expm

from lagrangian.learning.discover.measure import residual
from lagrangian.learning.discover.pairings import widest_gap
from lagrangian.learning.discover.probe import Probe
from lagrangian.symbolic.algebra.blocks import Block, LinearMap, ones
from lagrangian.symbolic.algebra.content import ByContent
from lagrangian.symbolic.algebra.symmetry import Symmetry

#: Entries of A and b together: of more, the linear algebra takes longer than a minute.
MOST_UNKNOWNS = 1600
#: Draws beyond as many as there are unknowns; and how many times as many there are at
#: most, where a unit is off in some of them, which then say nothing of it.
SURPLUS, MOST_DRAWS = 32, 3
#: Draws that prove a field: those in which every entry that it moves has a slope. So
#: many are looked through for them.
PROOFS, LOOKED_THROUGH = 3, 60
#: Orders in which the null space is reduced; each gives other vectors of least support.
ORDERS = 24
#: A coefficient below this share of the largest is zero, and a rank below it is none.
SMALL = 1e-6
#: What may be left of a finite transformation, and of a residual: entries come from a
#: null space, in which they have about ten digits.
DEFECT = 1e-8
#: Terms that are printed of one field.
_SHOWN = 6

Arrays = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class AffineField(ByContent):
    """A field A theta + b along which the loss has no slope, at any parameters.

    Attributes:
        matrix, shift: A and b, for the entries of `arrays` one after the other.
        arrays: by path, the shapes that they are of.
        defect: how far exp of the field moves the loss, relative to random
            displacements of the same arrays by the same length.
        residual: of the gradient that training uses; see `Evidence`.
    """

    matrix: np.ndarray
    shift: np.ndarray
    arrays: Mapping[str, tuple[int, ...]]
    defect: float = np.nan
    residual: float = np.nan

    @property
    def in_training(self) -> bool:
        """Whether its law holds in training: not if it is of the loss alone."""
        return self.residual < DEFECT

    def _content(self) -> tuple[Any, ...]:
        arrays = tuple(self.arrays.items())
        return AffineField, self.matrix.tobytes(), self.shift.tobytes(), arrays

    def __call__(self, theta: Arrays) -> dict[str, np.ndarray]:
        """How each of the arrays moves."""
        moved = self.matrix @ _flat(theta, self.arrays) + self.shift
        return _unflat(moved, self.arrays)

    @property
    def symmetry(self) -> AffineSymmetry:
        """As the engine has it, to derive its law and to observe it."""
        number = sha256(self.matrix.tobytes() + self.shift.tobytes()).hexdigest()[:8]
        rows, columns = [*_slices(self.arrays)], [*_slices(self.arrays), ("", slice(1))]
        xi: dict[Any, Any] = {}
        maps: dict[LinearMap, Part] = {}
        for path, row in rows:
            for source, column in columns:
                matrix = self.matrix[row, column] if source else self.shift[row, None]
                if not matrix.any():
                    continue
                parity = 0
                if source == path:
                    alike = [np.array_equal(matrix, c * matrix.T) for c in (1, -1)]
                    parity = (1, -1)[alike.index(True)] if any(alike) else 0
                name = "_".join(("A" + number, path, source or "shift"))
                linear_map = LinearMap(name, parity)
                maps[linear_map] = Part(
                    matrix, self.arrays[source] if source else (), self.arrays[path]
                )
                argument = Block(source) if source else ones
                xi[Block(path)] = xi.get(Block(path), 0) + linear_map(argument)
                if source:
                    xi.setdefault(argument, 0)
        return AffineSymmetry(xi, maps)

    def __str__(self) -> str:
        names = list(_names(self.arrays))
        terms = []
        for i, name in enumerate(names):
            parts = [(self.shift[i], ""), *zip(self.matrix[i], names, strict=True)]
            shown = [_times(c, other) for c, other in parts if c]
            if shown:
                terms.append(f"{name} by {' + '.join(shown)}")
        more = len(terms) - _SHOWN
        rest = [f"{more} more entries"] if more > 0 else []
        alone = [] if self.in_training else ["of the loss alone"]
        return ", ".join(terms[:_SHOWN] + rest + alone)


@dataclass(frozen=True, eq=False)
class Part(ByContent):
    """What a field makes of one array in another, a linear map.

    Attributes:
        domain, shape: of the array that it takes, and of what it makes.
    """

    matrix: np.ndarray
    domain: tuple[int, ...]
    shape: tuple[int, ...]

    def _content(self) -> tuple[Any, ...]:
        return Part, self.matrix.tobytes(), self.domain, self.shape

    def __call__(self, array: Any) -> Any:
        matrix = jnp.asarray(self.matrix, array.dtype)
        return (matrix @ array.reshape(-1)).reshape(self.shape)


class AffineSymmetry(Symmetry):
    """The symmetry of an `AffineField`; `maps` are its linear maps, as functions."""

    def __init__(self, xi: Mapping[Any, Any], maps: Mapping[LinearMap, Part]):
        super().__init__(xi, name="affine field")
        self.maps = dict(maps)

    def _content(self) -> tuple[Any, ...]:
        return (*super()._content(), frozenset(self.maps.items()))


def missed(
    probe: Probe,
    paths: Sequence[str],
    known: np.ndarray,
    theta: Arrays,
    quiet: Arrays,
    count: int,
    seed: int,
) -> tuple[AffineField, ...] | None:
    """Affine fields of some arrays beyond the known ones, the sparsest first.

    None if these arrays have too many entries to look for any.

    Args:
        probe: the loss, and draws of parameters.
        paths: of the arrays.
        known: directions at `theta` of the generators that were found, as rows over all
            parameters.
        quiet: by path, a mask of entries that no example reaches: what moves these
            alone is none.
        count: how many more directions there are.
        seed: of the draws.
    """
    arrays = {path: probe.shapes[path] for path in paths}
    size = sum(prod(shape) for shape in arrays.values())
    if size * (size + 1) > MOST_UNKNOWNS:
        return None
    found: list[AffineField] = []
    held = spanned(known, SMALL)
    candidates = _candidates(probe, arrays, size, seed)
    within, loud = _positions(theta, arrays), ~_flat(quiet, arrays)
    for row in candidates:
        parts = row.reshape(size, size + 1)
        field = AffineField(parts[:, :-1], parts[:, -1], arrays)
        direction = np.zeros(sum(array.size for array in theta.values()))
        direction[within] = _flat(field(theta), arrays) * loud
        rest = direction - (direction @ held.T) @ held
        if np.linalg.norm(rest) <= SMALL * np.linalg.norm(direction):
            continue
        field = _proved(probe, field, loud, seed)
        if not field.defect < DEFECT:
            continue
        held = np.vstack([held, rest / np.linalg.norm(rest)])
        found.append(field)
        if len(found) == count:
            break
    return tuple(found)


def _candidates(
    probe: Probe, arrays: Arrays, size: int, seed: int
) -> Iterator[np.ndarray]:
    """Fields (A, b) along which the loss has no slope, the simplest first.

    Where training differentiates something else, first those that it keeps as well.
    """
    slopes = [[probe.gradient]]
    if probe.is_detached:
        slopes = [[probe.own_gradient, probe.gradient], [probe.own_gradient]]
    is_linear = np.tile(np.arange(size + 1) < size, size)
    for used in slopes:
        basis = _null_space(probe, used, arrays, size, seed)
        # A shift is simpler than the same shift times an entry.
        for space in (vanishing(basis, is_linear), basis):
            yield from sorted(_circuits(space, seed), key=np.count_nonzero)


def _null_space(
    probe: Probe, slopes: Sequence[Any], arrays: Arrays, size: int, seed: int
) -> np.ndarray:
    """Orthonormal rows (A, b) with <grad f, A theta + b> = 0 in all draws."""
    rows = []
    enough = size * (size + 1) + SURPLUS
    seen = np.zeros(size, int)
    for theta, batch in probe.draws(MOST_DRAWS * enough, seed):
        # Of what never has a slope no draw says anything.
        if len(rows) >= enough and np.all((seen >= enough) | (seen == 0)):
            break
        for slope in slopes:
            gradient = _flat(slope(theta, batch), arrays)
            seen += gradient != 0
            rows.append(np.outer(gradient, [*_flat(theta, arrays), 1.0]).ravel())
    matrix = np.array(rows)
    if not np.isfinite(matrix).all():
        return matrix[:0]
    matrix /= np.linalg.norm(matrix, axis=1).mean() or 1.0
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    zero, _ = widest_gap(values[::-1], *probe.bounds)
    return vectors[values <= zero]


def vanishing(basis: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Orthonormal rows of those vectors in a space that are zero somewhere."""
    left, values, _ = np.linalg.svd(basis[:, where])
    rank = int((values > SMALL).sum())
    return left[:, rank:].T @ basis


def _circuits(basis: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Vectors of least support: rows of reduced forms, each with other pivots.

    No vector of the space has its support inside of that of another row.
    """
    chance = np.random.default_rng(seed)
    for _ in range(ORDERS):
        reduced = basis.copy()
        free = chance.random(basis.shape[1]) + 0.5
        for i in range(len(reduced)):
            pivot = int(np.argmax(abs(reduced[i:]).max(axis=0) * free))
            k = i + int(np.argmax(abs(reduced[i:, pivot])))
            reduced[[i, k]] = reduced[[k, i]]
            reduced[i] /= reduced[i, pivot]
            others = np.arange(len(reduced)) != i
            reduced[others] -= np.outer(reduced[others, pivot], reduced[i])
        reduced /= abs(reduced).max(axis=1, keepdims=True)
        for row in np.where(abs(reduced) < SMALL, 0.0, reduced):
            # The first entry is positive.
            yield row * np.sign(row[np.flatnonzero(row)[0]])


def _proved(
    probe: Probe, field: AffineField, loud: np.ndarray, seed: int
) -> AffineField:
    """With its residual and its defect, the worst of fresh draws.

    NaN where units that are off left nothing to prove it by.
    """
    chance, size = np.random.default_rng(seed + 1), len(field.shift)
    motion = np.zeros((size + 1, size + 1))
    motion[:-1] = np.column_stack([field.matrix, field.shift])
    flow = expm(motion)
    left, worst, proofs = 0.0, 0.0, 0
    moves = field.matrix.any(axis=1) | (field.shift != 0)
    own = probe.own_gradient if probe.is_detached else probe.gradient
    for theta, batch in probe.draws(LOOKED_THROUGH, seed + 1):
        # Entries that are never reached have no slope anywhere.
        if not _flat(own(theta, batch), field.arrays)[moves & loud].all():
            continue
        proofs += 1
        slope = probe.gradient(theta, batch)
        left = max(left, residual(slope, field(theta), probe.rounding))
        here = _flat(theta, field.arrays)
        moved = (flow @ [*here, 1.0])[:-1]
        length = np.linalg.norm(moved - here)
        aside = chance.standard_normal(size)
        aside *= length / np.linalg.norm(aside)
        before, after, other = (
            float(probe.value({**theta, **_unflat(flat, field.arrays)}, batch))
            for flat in (here, moved, here + aside)
        )
        worst = max(worst, abs(after - before) / (abs(other - before) or np.inf))
        if proofs == PROOFS:
            return replace(field, defect=worst, residual=left)
    return field


def _flat(theta: Arrays, arrays: Arrays) -> np.ndarray:
    return np.concatenate([np.asarray(theta[path]).ravel() for path in arrays])


def _unflat(flat: np.ndarray, arrays: Arrays) -> dict[str, np.ndarray]:
    return {path: flat[at].reshape(arrays[path]) for path, at in _slices(arrays)}


def _slices(arrays: Arrays) -> Iterator[tuple[str, slice]]:
    """Where the entries of each array are among those of all."""
    end = 0
    for path, shape in arrays.items():
        start, end = end, end + prod(shape)
        yield path, slice(start, end)


def _positions(theta: Arrays, arrays: Arrays) -> np.ndarray:
    """Where the entries of `arrays` are among those of all of `theta`."""
    places = dict(_slices({path: np.shape(a) for path, a in theta.items()}))
    return np.concatenate([np.r_[places[path]] for path in arrays])


def spanned(rows: np.ndarray, least: float) -> np.ndarray:
    """Orthonormal rows of what rows span, by singular values above `least`."""
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    _, values, span = np.linalg.svd(
        rows / np.where(sizes > 0, sizes, 1.0), full_matrices=False
    )
    return span[values > least]


def _names(arrays: Arrays) -> Iterator[str]:
    for path, shape in arrays.items():
        for index in np.ndindex(*shape):
            yield f"{path}[{', '.join(map(str, index))}]" if shape else path


def _times(coefficient: float, other: str) -> str:
    number = f"{coefficient:.4g}"
    if not other:
        return number
    return other if number == "1" else f"{number} {other}"
