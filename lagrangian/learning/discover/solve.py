"""Null spaces of sampled pairings, and their sparsest bases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from math import comb

import numpy as np
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from lagrangian.learning.discover.pairings import Pairings, Solution, widest_gap

#: How far coefficients of approximate symmetries may be from whole numbers.
NEAR_ROUNDING = 0.3
#: Orders of the columns in which the null space is reduced to echelon form, and how
#: many entries all those forms may have.
ORDERS, MOST_ENTRIES = 64, 10_000_000
#: A pivot below this share of the largest entry is rounding.
PIVOT = 1e-4
#: Entries of a projector below this are rounding, and coefficients as near to a
#: fraction are that fraction; or below a multiple of the ratio of zeros to the smallest
#: other.
APART, BLUR = 1e-6, 30.0
#: Singular values of coefficient vectors below this are zero.
RANK = 1e-6
#: Sets of terms that are tried one by one for approximate symmetries.
MOST_SUPPORTS = 100_000


def exact_solutions(
    pairings: Pairings, known: list[np.ndarray], low: float, high: float
) -> list[Solution]:
    """The sparsest null vectors that do not follow from `known` ones.

    Args:
        pairings: of the terms of one level.
        known: null vectors that other levels imply.
        low, high: bounds between which the widest gap parts zeros from the rest.
    """
    values, vectors = pairings.singular
    gap = widest_gap(values, low, high)
    null = vectors[:, values <= gap[0]] if gap[0] > 0 else vectors[:, values == 0]
    # Where zeros and the rest lie close together, null vectors have as much of the
    # rest.
    blur = max(APART, BLUR * gap[0] / gap[1])
    found: list[Solution] = []
    for part, basis in _components(null, blur):
        size = basis.shape[1]
        given = [v[part] for v in known if v[part].any()]
        if len(given) >= size and _rank(given) >= size:
            continue
        taken = list(given)
        scale = pairings.scale[part]
        solved = []
        for circuit in _circuits(basis, scale, 12, blur):
            vector = np.zeros(len(null))
            vector[part] = circuit
            solved.append(pairings.of(vector, gap))
        # A circuit of terms that hardly matter may be one by rounding only.
        solved = [s for s in solved if s.defect < high]
        for solution in sorted(solved, key=_sparsity):
            if len(taken) >= size and _rank(taken) >= size:
                break
            own = solution.coefficients[part]
            if _is_independent(own, taken):
                thinner = np.zeros(len(null))
                thinner[part] = _thinned(own, taken)
                again = pairings.of(thinner, gap)
                solution = again if again.defect < high else solution
                taken.append(solution.coefficients[part])
                found.append(solution)
    return found


def near_solutions(
    pairings: Pairings,
    basis: list[np.ndarray],
    low: float,
    high: float,
    near: float,
) -> list[Solution]:
    """Plain vectors that are nearly null, and do not follow from those of `basis`.

    Plain are small whole coefficients, none of which could be left out.

    Args:
        pairings: of the terms of one level that may be approximate.
        basis: null vectors that are known.
        low, high: bounds between which the widest gap parts zeros from the rest.
        near: the largest defect of what is called approximate.
    """
    values, vectors = pairings.singular
    close = vectors[:, values < near]
    gram = pairings.gram
    gap = widest_gap(values, low, high)
    if not (values[values < near] >= gap[1]).any():
        return []
    candidates = [
        *_circuits(close, pairings.scale, 1, NEAR_ROUNDING),
        *_small(gram, pairings.mean, near),
    ]
    solved = [pairings.of(v, gap) for v in candidates if _is_plain(v, gram)]
    solved = [s for s in solved if s.defect < near]
    basis = list(basis)
    best: list[Solution] = []
    for solution in sorted(solved, key=lambda s: s.defect):
        others = [*basis, *(s.coefficients for s in best)]
        if not any(_nested(solution.coefficients, other) for other in others):
            best.append(solution)
    found = []
    for solution in sorted(best, key=lambda s: (_magnitude(s), *_sparsity(s))):
        vector = solution.coefficients
        if not _is_independent(vector, basis):
            continue
        thinner = _thinned(vector, basis)
        if _is_plain(thinner, gram):
            again = pairings.of(thinner, gap)
            solution = again if again.defect < near else solution
        basis.append(solution.coefficients)
        found.append(solution)
    return found


def _components(
    null: np.ndarray, apart: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Terms that null vectors connect, and those vectors within them as columns."""
    projector = null @ null.T
    _, labels = connected_components(np.abs(projector) > apart, directed=False)
    for label in np.unique(labels[np.diag(projector) > apart]):
        part = np.flatnonzero(labels == label)
        values, vectors = np.linalg.eigh(projector[np.ix_(part, part)])
        yield part, vectors[:, values > 0.5]


def _sparsity(solution: Solution) -> tuple[int, float]:
    return int(np.count_nonzero(solution.coefficients)), solution.defect


def _magnitude(solution: Solution) -> int:
    """Of the defect, in powers of a hundred: only then sparse is better than small."""
    return int(np.floor(np.log10(max(solution.defect, 1e-30)) / 2))


def _nested(vector: np.ndarray, other: np.ndarray) -> bool:
    """Whether all terms of the one are in the other: a worse version of the same."""
    smaller, larger = sorted((vector != 0, other != 0), key=np.count_nonzero)
    return not (smaller & ~larger).any()


def _is_plain(vector: np.ndarray, gram: np.ndarray) -> bool:
    """Whether an approximate null vector is one, and no sum of one and something else.

    Its coefficients are small integers, and without any of its terms it would be
    further from zero.
    """
    chosen = np.flatnonzero(vector)
    plain = np.abs(vector - np.round(vector)).max() == 0 and np.abs(vector).max() <= 2
    if not plain or len(chosen) == 0:
        return False
    whole = vector @ gram @ vector
    for term in chosen if len(chosen) > 1 else ():
        rest = vector.copy()
        rest[term] = 0.0
        if rest @ gram @ rest <= whole:
            return False
    return True


def _small(gram: np.ndarray, mean: np.ndarray, near: float) -> Iterator[np.ndarray]:
    """All vectors with one to three entries 1 or -1 whose defect is below `near`."""
    terms = len(gram)
    for support in (1, 2, 3):
        if terms < support or comb(terms, support) > MOST_SUPPORTS:
            continue
        chosen = np.array(list(combinations(range(terms), support)))
        blocks = gram[chosen[:, :, None], chosen[:, None, :]]
        bounds = mean[chosen].sum(axis=1)
        for signs in product((1.0, -1.0), repeat=support - 1):
            entries = np.array([1.0, *signs])
            squares = np.einsum("i,nij,j->n", entries, blocks, entries)
            for place in chosen[squares < near**2 * bounds]:
                vector = np.zeros(terms)
                vector[place] = entries
                yield vector


def _rank(rows: list[np.ndarray]) -> int:
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return int(np.linalg.matrix_rank(np.array(rows) / sizes, tol=RANK))


def _is_independent(vector: np.ndarray, basis: list[np.ndarray]) -> bool:
    return not basis or _rank([*basis, vector]) > _rank(basis)


def _circuits(
    null: np.ndarray, scale: np.ndarray, parts: int, tolerance: float
) -> list[np.ndarray]:
    """Vectors with few non-zero entries that span the columns of `null` over `scale`.

    The rows of a reduced echelon form are vectors of minimal support; random orders of
    the entries show many of them.
    """
    generator = np.random.default_rng(0)
    terms, dimension = null.shape
    found: dict[tuple[float, ...], np.ndarray] = {}
    orders = min(ORDERS, 1 + MOST_ENTRIES // (null.size * dimension or 1))
    for _ in range(orders if dimension > 1 else 1):
        order = generator.permutation(terms)
        for row, pivot in _echelon(null.T[:, order]):
            vector = row / scale[order]
            vector = _rounded(vector / vector[pivot], parts, tolerance)[
                np.argsort(order)
            ]
            vector = _signed(vector)
            found.setdefault(tuple(np.round(vector, 6)), vector)
    return list(found.values())


def _thinned(vector: np.ndarray, basis: list[np.ndarray]) -> np.ndarray:
    """The vector plus multiples of known ones with the least sum of absolute values.

    That sum, a linear program, stands for the number of entries.
    """
    if np.count_nonzero(vector) <= 2 or not basis:
        return vector
    known, size = np.array(basis).T, len(vector)
    unit = np.eye(size)
    program = linprog(
        np.concatenate([np.zeros(len(basis)), np.ones(size)]),
        A_ub=np.block([[known, -unit], [-known, -unit]]),
        b_ub=np.concatenate([-vector, vector]),
        bounds=[(None, None)] * len(basis) + [(0, None)] * size,
    )
    if program.x is None:
        return vector
    trial = vector + known @ program.x[: len(basis)]
    trial = _signed(_rounded(trial, 12, NEAR_ROUNDING / 100))
    return trial if (0, 0) < _weight(trial) < _weight(vector) else vector


def _weight(vector: np.ndarray) -> tuple[int, float]:
    return int(np.count_nonzero(vector)), float(np.abs(vector).sum())


def _signed(vector: np.ndarray) -> np.ndarray:
    """With a positive first entry."""
    return vector * np.sign(vector[np.argmax(vector != 0)])


def _echelon(rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The rows of the reduced echelon form, each with its pivot's column."""
    rows, pivots = rows.copy(), []
    for column in range(rows.shape[1]):
        done = len(pivots)
        if done == len(rows):
            break
        best = done + int(np.argmax(np.abs(rows[done:, column])))
        if abs(rows[best, column]) < PIVOT * np.abs(rows[done:]).max():
            continue
        rows[[done, best]] = rows[[best, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        pivots.append(column)
    return list(zip(rows, pivots, strict=False))


def _rounded(vector: np.ndarray, parts: int, tolerance: float) -> np.ndarray:
    """The nearest vector of multiples of 1 / parts, if all entries are near to such."""
    nearest = np.round(vector * parts) / parts
    return nearest if np.abs(vector - nearest).max() < tolerance else vector
