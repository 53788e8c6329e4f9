"""From sampled gradients to generators: level by level, from fine units to coarse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from lagrangian.learning.discover.generator import Generator
from lagrangian.learning.discover.probe import Probe
from lagrangian.learning.discover.solve import Solution, solutions
from lagrangian.learning.discover.terms import (
    MANY_UNITS,
    SCALE,
    SHIFT,
    Draw,
    Term,
    base_terms,
    split_terms,
)
from lagrangian.learning.discover.units import CONTIGUOUS, STRIDED, View

#: How many more equations than unknowns are sampled, as a share and as a number.
SURPLUS, EXTRA = 1.25, 8
#: Largest defect of what is called an approximate symmetry, of scales of units and of
#: all else. Where there are few units, sums are small by chance more often.
NEAR_UNITS, NEAR = 0.2, 0.03


@dataclass(frozen=True)
class Samples:
    """Pairings of every term with the gradients of all draws.

    `sums` and `squares` map a term to arrays (draws, units); `silent` are the arrays
    whose gradient is zero throughout, up to `rounding`.
    """

    sums: dict[Term, np.ndarray]
    squares: dict[Term, np.ndarray]
    silent: tuple[str, ...]
    rounding: float


def sample(probe: Probe, seed: int) -> Samples:
    """Pairings at random parameters and batches; gradients have norm 1 in each draw."""
    shapes = probe.shapes
    terms = base_terms(shapes)
    sizes = {length for shape in shapes.values() for length in shape}
    coarse = {term: list(split_terms(term, sizes)) for term in terms}
    pairs: list[Any] = [[] for _ in terms]
    largest = dict.fromkeys(shapes, 0.0)
    for theta, batch in probe.draws(_enough(coarse), seed):
        gradient = probe.gradient(theta, batch)
        for path, g in gradient.items():
            largest[path] = max(largest[path], float(np.abs(g).max(initial=0.0)))
        draw = Draw(theta, gradient)
        for kept, term in zip(pairs, terms, strict=True):
            kept.append(term.pairing(draw))
    silent = tuple(path for path in shapes if largest[path] < probe.rounding)
    samples = Samples({}, {}, silent, probe.rounding)
    for term, drawn in zip(terms, pairs, strict=True):
        if term.path in silent:
            continue
        sums, squares = (np.stack(part) for part in zip(*drawn, strict=True))
        samples.sums[term], samples.squares[term] = sums, squares
        for split in coarse[term]:
            samples.sums[split] = split.view.group(sums)
            samples.squares[split] = split.view.group(squares)
    return samples


def generators(samples: Samples, shapes: dict[str, tuple[int, ...]]) -> list[Generator]:
    """A basis of the generators within the ansatz, exact and approximate ones."""
    found = [_silent(path, shapes[path]) for path in samples.silent]
    levels: dict[Any, list[Term]] = {}
    for term in samples.sums:
        levels.setdefault(term.level, []).append(term)
    implied: dict[Any, list[dict[Term, float]]] = {}
    for level in sorted(levels, key=lambda level: -np.prod(level[1], dtype=int)):
        terms = levels[level]
        place = {term: i for i, term in enumerate(terms)}
        known = [
            _vector(image, place)
            for image in implied.get(level, [])
            if all(term in place for term in image)
        ]
        rows = _rows(samples, terms)
        for solution in solutions(*rows, known, samples.rounding, _near(terms)):
            generator = _generator(terms, solution)
            found.append(generator)
            for image in _coarser(dict(generator.terms)):
                first = next(iter(image))
                implied.setdefault(first.level, []).append(image)
    return found


def _enough(coarse: Mapping[Term, list[Term]]) -> int:
    """How many draws give every level more equations than unknowns."""
    unknowns = Counter(
        t.level for base, parts in coarse.items() for t in (base, *parts)
    )
    return EXTRA + max(
        int(np.ceil(SURPLUS * count / min(np.prod(units, dtype=int), MANY_UNITS)))
        for (_, units), count in unknowns.items()
    )


def _near(terms: Sequence[Term]) -> float:
    """How large a defect of an approximate symmetry of this level may be."""
    family, units = terms[0].level
    real = units and all(term.view.split is None for term in terms)
    return NEAR_UNITS if family == SCALE and real else NEAR


def _rows(samples: Samples, terms: Sequence[Term]) -> tuple[np.ndarray, np.ndarray]:
    """The pairings of a level's terms as columns; each draw and unit is a row."""
    units = samples.sums[terms[0]].shape[1]
    chosen = np.arange(units)
    if units > MANY_UNITS:
        generator = np.random.default_rng(units)
        chosen = generator.choice(units, MANY_UNITS, replace=False)
    sums, squares = (
        np.stack([part[t][:, chosen].ravel() for t in terms], axis=1)
        for part in (samples.sums, samples.squares)
    )
    return sums, squares


def _generator(terms: Sequence[Term], solution: Solution) -> Generator:
    pairs = zip(terms, solution.coefficients, strict=True)
    chosen = tuple((term, float(c)) for term, c in pairs if c != 0)
    return Generator(chosen, solution.defect, solution.gap)


def _silent(path: str, shape: tuple[int, ...]) -> Generator:
    view = View(path, shape, tuple(range(len(shape))))
    return Generator(((Term(view, SHIFT), 1.0),), 0.0, (0.0, np.inf))


def _vector(image: dict[Term, float], place: dict[Term, int]) -> np.ndarray:
    vector = np.zeros(len(place))
    for term, coefficient in image.items():
        vector[place[term]] = coefficient
    return vector


def _coarser(solution: dict[Term, float]) -> Iterator[dict[Term, float]]:
    """What a solution implies where units are moved together."""
    pending, seen = [solution], set()
    while pending:
        current = pending.pop()
        for image in _steps(current):
            key = frozenset(image.items())
            if key and key not in seen:  # rows against columns cancel as a whole
                seen.add(key)
                pending.append(image)
                yield image


def _steps(solution: dict[Term, float]) -> Iterator[dict[Term, float]]:
    first = next(iter(solution))
    units, matrix = first.view.units, len(first.element_shape) > len(first.view.units)
    for position in range(len(units) - matrix):
        image: dict[Term, float] = {}
        for term, coefficient in solution.items():
            coarse = term.without(position)
            image[coarse] = image.get(coarse, 0.0) + coefficient
        yield {term: c for term, c in image.items() if c}
    if len(units) == 1 and not matrix:
        divisors = [n for n in range(2, units[0] // 2 + 1) if units[0] % n == 0]
        for kind, parts in product((CONTIGUOUS, STRIDED), divisors):
            split = {t.splits(kind, parts): c for t, c in solution.items()}
            if None not in split:
                yield {term: c for term, c in split.items() if term is not None}
