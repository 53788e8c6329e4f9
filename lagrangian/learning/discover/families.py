"""From sampled gradients to generators: level by level, from fine units to coarse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import numpy as np

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.pairings import Pairings, Solution
from lagrangian.learning.discover.pieces import Piece
from lagrangian.learning.discover.probe import Probe
from lagrangian.learning.discover.solve import exact_solutions, near_solutions
from lagrangian.learning.discover.terms import (
    ABSORB,
    AFFINE,
    ANTISYMMETRIC,
    CENTRED,
    MANY_UNITS,
    SCALE,
    SHIFT,
    Draw,
    Term,
    terms_of,
)
from lagrangian.learning.discover.units import View

#: How many more equations than unknowns are sampled, as a share and as a number.
SURPLUS, EXTRA = 1.25, 8
#: Largest defect of what is called an approximate symmetry: of scales, and of matrices.
#: A law with a larger source predicts nothing: so it is with the rescales of units that
#: are roughly homogeneous, as GELU and SiLU are. And a matrix that mixes units which
#: are nearly linear is no symmetry of theirs.
NEAR, NEAR_MATRIX = 0.03, 1e-3

#: The gradient of one draw, by path, at parameters and rows of the batch.
Gradient = Callable[[Mapping[str, Any], Any], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Samples:
    """Pairings of every term with the gradients of all draws.

    Attributes:
        sums, squares: of each term, arrays (draws, sampled units).
        silent: the pieces whose gradient is zero throughout.
        quiet: by path, a mask of the entries elsewhere whose gradient is exactly zero.
        low, high: between them zeros are parted from the rest.
    """

    sums: dict[Term, np.ndarray]
    squares: dict[Term, np.ndarray]
    silent: tuple[Piece, ...]
    quiet: dict[str, np.ndarray]
    low: float
    high: float

    def pairings(self, terms: Sequence[Term]) -> Pairings:
        """A level's terms as columns; each draw and unit is a row."""
        return Pairings(
            *(
                np.stack([part[t].ravel() for t in terms], axis=1)
                for part in (self.sums, self.squares)
            )
        )


def sample(probe: Probe, gradients: Sequence[Gradient], seed: int) -> Samples:
    """Pairings at random parameters and batches; gradients have norm 1 in each draw.

    Args:
        probe: draws, and how the model cuts its arrays.
        gradients: what has to be orthogonal to a generator, one after the other.
        seed: of parameters and rows.
    """
    levels: dict[Any, list[Term]] = {}
    for term in terms_of(probe.pieces):
        levels.setdefault(term.level, []).append(term)
    needed = {level: _enough(level, len(terms)) for level, terms in levels.items()}
    pairs: dict[Term, list[Any]] = {t: [] for terms in levels.values() for t in terms}
    silence = _Silence(probe)
    draws = probe.draws(max(needed.values()), seed)
    for number, (theta, batch) in enumerate(draws):
        terms = [t for level in levels if number < needed[level] for t in levels[level]]
        for gradient in gradients:
            draw = Draw(theta, gradient(theta, batch))
            silence.hear(draw.gradient)
            for term in terms:
                pairs[term].append(term.pairing(draw))
    samples = Samples({}, {}, tuple(silence.pieces), silence.masks(), *probe.bounds)
    for term, drawn in pairs.items():
        if term.moved not in silence.pieces:
            sums, squares = (np.stack(part) for part in zip(*drawn, strict=True))
            samples.sums[term], samples.squares[term] = sums, squares
    return samples


class _Silence:
    """What no gradient has reached: pieces, and entries of the others.

    Attributes:
        pieces: those whose gradient was never above rounding.
    """

    def __init__(self, probe: Probe):
        self.pieces, self._rounding = list(probe.pieces), probe.rounding
        self._zero = {path: np.ones(s, bool) for path, s in probe.shapes.items()}

    def hear(self, gradient: Mapping[str, np.ndarray]) -> None:
        """One more gradient. What it reached once needs no further look."""
        self.pieces = [
            piece
            for piece in self.pieces
            if np.abs(piece.take(gradient[piece.path])).max(initial=0) < self._rounding
        ]
        for path, zero in self._zero.items():
            if zero.any():
                zero &= gradient[path] == 0

    def masks(self) -> dict[str, np.ndarray]:
        """By path, a mask of entries that were zero throughout, none in `pieces`."""
        for piece in self.pieces:
            self._zero[piece.path] &= piece.place(np.ones(piece.shape)) == 0
        return self._zero


def generators(samples: Samples, known: Sequence[Generator] = ()) -> list[Generator]:
    """A basis of the generators within the ansatz, exact and approximate ones.

    Args:
        samples: of gradients.
        known: generators that are left out, with what they imply.
    """
    silent = [_silent(piece) for piece in samples.silent]
    found = [g for g in silent if g.terms not in [k.terms for k in known]]
    levels: dict[Any, list[Term]] = {}
    for term in samples.sums:
        levels.setdefault(term.level, []).append(term)
    exact, near = _Images(), _Images()
    for generator in known:
        exact.add(dict(generator.solved), itself=True)
    for level in sorted(levels, key=lambda level: -prod(level[1])):
        terms = levels[level]
        solved = _exact(samples, terms, exact.of(level, terms))
        basis = [*exact.of(level, terms), *(s.coefficients for s in solved)]
        for solution in solved:
            if any(
                terms[i].action != ABSORB for i in solution.coefficients.nonzero()[0]
            ):
                found.append(_generator(terms, solution))
            exact.add(_chosen(terms, solution))
        basis += near.of(level, terms)
        for solution in _near(samples, terms, basis):
            found.append(_generator(terms, solution))
            near.add(_chosen(terms, solution))
    return found


class _Images:
    """What solutions imply where units are moved together, by level."""

    def __init__(self) -> None:
        self._of: dict[Any, list[dict[Term, float]]] = {}

    def add(self, solution: dict[Term, float], itself: bool = False) -> None:
        images = list(_coarser(solution))
        for image in [solution, *images] if itself else images:
            self._of.setdefault(next(iter(image)).level, []).append(image)

    def of(self, level: Any, terms: Sequence[Term]) -> list[np.ndarray]:
        """Those of a level, as coefficients of its terms."""
        place = {term: i for i, term in enumerate(terms)}
        return [
            _vector(image, place)
            for image in self._of.get(level, [])
            if all(term in place for term in image)
        ]


def _exact(
    samples: Samples, terms: Sequence[Term], known: list[np.ndarray]
) -> list[Solution]:
    pairings = samples.pairings(terms)
    return exact_solutions(pairings, known, samples.low, samples.high)


def _near(
    samples: Samples, terms: Sequence[Term], basis: list[np.ndarray]
) -> list[Solution]:
    """Approximate solutions: scales and matrices, and with a small defect also shifts.

    A solution of shifts alone is none: their gradients are small by chance.
    """
    scales = [i for i, t in enumerate(terms) if t.action == SCALE or t.is_matrix]
    family, _ = terms[0].level
    if not scales:
        return []
    found: list[Solution] = []
    limits = [(scales, NEAR_MATRIX)]
    if family == AFFINE:
        both = [i for i, t in enumerate(terms) if t.action in (SCALE, SHIFT)]
        limits = [(both, NEAR_MATRIX), (scales, NEAR)]
    for chosen, limit in limits:
        pairings = samples.pairings([terms[i] for i in chosen])
        known = [*basis, *(s.coefficients for s in found)]
        known = [v[chosen] for v in known if v[chosen].any()]
        bounds = samples.low, samples.high
        for solution in near_solutions(pairings, known, *bounds, limit):
            vector = np.zeros(len(terms))
            vector[chosen] = solution.coefficients
            if vector[scales].any():
                found.append(Solution(vector, solution.defect, solution.gap))
    return found


def _enough(level: Any, unknowns: int) -> int:
    """How many draws give a level of so many terms more equations than unknowns.

    Each gives an equation a sampled unit. So the coarsest level, where whole arrays
    move, needs by far the most, and the others need not wait for it.
    """
    _, units = level
    return EXTRA + ceil(SURPLUS * unknowns / min(prod(units), MANY_UNITS))


def _generator(terms: Sequence[Term], solution: Solution) -> Generator:
    chosen = tuple(_chosen(terms, solution).items())
    return Generator(_whole(chosen), solution.defect, solution.gap, chosen)


def _chosen(terms: Sequence[Term], solution: Solution) -> dict[Term, float]:
    pairs = zip(terms, solution.coefficients, strict=True)
    return {term: float(c) for term, c in pairs if c != 0}


def _whole(terms: Sequence[tuple[Term, float]]) -> tuple[tuple[Term, float], ...]:
    """Where all pieces of an array move alike, one term of the array for them."""
    groups: dict[Any, list[Term]] = {}
    for term, c in terms:
        axes = tuple(term.view.axis_by_units.items())
        units, whole = term.view.units, term.view.piece.whole
        single = all(
            len(places) == 1 and units[places[0]] == whole[axis]
            for places, axis in axes
        )
        alike = term.action in (SCALE, SHIFT) and term.view.has_whole_axes and single
        key = (term.path, term.action, axes, c) if alike else (term, c)
        groups.setdefault(key, []).append(term)
    found = []
    for (*_, c), group in groups.items():
        first, piece = group[0], group[0].view.piece
        size = sum(prod(term.view.piece.shape) for term in group)
        if len(group) > 1 and size == prod(piece.whole):
            every = Piece.all_of(piece.path, piece.whole)
            places = [piece.origins[a] for a in first.view.axes]
            axes = tuple(every.origins.index(i) for i in places)
            found.append((replace(first, view=View(every, axes)), c))
        else:
            found += [(term, c) for term in group]
    return tuple(found)


def _silent(piece: Piece) -> Generator:
    view = View(piece, tuple(range(len(piece.shape))))
    terms = ((Term(view, SHIFT), 1.0),)
    return Generator(terms, 0.0, (0.0, np.inf), terms)


def _vector(image: dict[Term, float], place: dict[Term, int]) -> np.ndarray:
    vector = np.zeros(len(place))
    for term, coefficient in image.items():
        vector[place[term]] = coefficient
    return vector


def _coarser(solution: dict[Term, float]) -> Iterator[dict[Term, float]]:
    """What a solution implies where units are moved together."""
    pending, seen = [solution], set()
    while pending:
        for image in _steps(pending.pop()):
            key = frozenset(image.items())
            if key and key not in seen:  # rows against columns cancel as a whole
                seen.add(key)
                pending.append(image)
                yield image


def _steps(solution: dict[Term, float]) -> Iterator[dict[Term, float]]:
    first = next(iter(solution))
    if first.action == ANTISYMMETRIC and len(first.view.units) == 1:
        yield {replace(term, action=CENTRED): c for term, c in solution.items()}
    for position in range(len(first.view.units) - first.is_matrix):
        image: dict[Term, float] = {}
        for term, coefficient in solution.items():
            coarse = term.without(position)
            image[coarse] = image.get(coarse, 0.0) + coefficient
        yield {term: c for term, c in image.items() if c}
