"""Null spaces of sampled pairings, and their sparsest bases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
from scipy.optimize import linprog

#: How far coefficients may be from the numbers to which they are rounded.
EXACT_ROUNDING, NEAR_ROUNDING = 1e-6, 0.3
#: Orders of the columns in which the null space is reduced to echelon form.
ORDERS = 64
#: A pivot below this share of the largest entry is rounding.
PIVOT = 1e-4
#: Singular values of coefficient vectors below this are zero.
RANK = 1e-6
#: Sets of terms that are tried one by one for approximate symmetries.
MOST_SUPPORTS = 100_000


@dataclass(frozen=True)
class Solution:
    """A null vector: integer or rational coefficients where they are such.

    `defect` is its root-mean-square pairing with the gradients relative to that of the
    same sum with random signs, and `gap` the largest singular value that counts as zero
    in its level and the smallest that does not, relative to the same.
    """

    coefficients: np.ndarray
    defect: float
    gap: tuple[float, float]


def solutions(
    sums: np.ndarray,
    squares: np.ndarray,
    known: list[np.ndarray],
    exact: float,
    near: float,
) -> list[Solution]:
    """The sparsest null vectors that do not follow from `known` ones.

    Args:
        sums: <g, xi> of each term, shape (rows, terms).
        squares: squares of the same sums with random signs, same shape.
        known: null vectors that other levels imply.
        exact: defects below it are rounding.
        near: the largest defect of what is called approximate.

    Returns:
        The exact ones, from sparse to dense, then the approximate ones by defect.
    """
    mean = squares.mean(axis=0)
    scale = np.sqrt(np.where(mean > 0, mean, 1.0))
    values, vectors = _singular(sums / scale / np.sqrt(len(sums)))
    gap = _gap(values, exact)
    gram = sums.T @ sums / len(sums)
    found: list[Solution] = []
    basis = [*known]

    def judged(candidates: Iterable[np.ndarray], limit: float) -> list[Solution]:
        solved = [Solution(v, _defect(v, sums, mean), gap) for v in candidates]
        return [s for s in solved if s.defect < limit]

    def take(solution: Solution, limit: float) -> None:
        if not _independent(solution.coefficients, basis):
            return
        thinner = _thinned(solution.coefficients, basis)
        if limit == exact or _is_plain(thinner, gram):
            (solution,) = judged([thinner], limit) or [solution]
        basis.append(solution.coefficients)
        found.append(solution)

    tolerance = max(EXACT_ROUNDING, 1e3 * exact)
    null, close = vectors[:, values < exact], vectors[:, values < near]
    if null.shape[1]:
        circuits = _circuits(null, scale, 12, tolerance)
        sparse = judged(circuits, exact)
        for solution in sorted(sparse, key=_sparsity):
            take(solution, exact)
    if close.shape[1] > null.shape[1]:
        circuits = _circuits(close, scale, 1, NEAR_ROUNDING)
        candidates = [*circuits, *_small(gram, mean, near)]
        plain = judged((v for v in candidates if _is_plain(v, gram)), near)
        best: list[Solution] = []
        for solution in sorted(plain, key=lambda s: s.defect):
            others = [*basis, *(s.coefficients for s in best)]
            if not any(_nested(solution.coefficients, other) for other in others):
                best.append(solution)
        for solution in sorted(best, key=lambda s: (_magnitude(s), *_sparsity(s))):
            take(solution, near)
    return found


def _sparsity(solution: Solution) -> tuple[int, float]:
    return int(np.count_nonzero(solution.coefficients)), solution.defect


def _magnitude(solution: Solution) -> int:
    """Of the defect, in powers of a hundred: only then sparse is better than small."""
    return int(np.floor(np.log10(max(solution.defect, 1e-30)) / 2))


def _nested(vector: np.ndarray, other: np.ndarray) -> bool:
    """Whether all terms of the one are in the other: a worse version of the same."""
    smaller, larger = sorted((vector != 0, other != 0), key=np.count_nonzero)
    return not (smaller & ~larger).any()


def _singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values from small to large, and right singular vectors as columns."""
    reduced = np.linalg.qr(matrix, mode="r") if len(matrix) > len(matrix.T) else matrix
    _, values, rows = np.linalg.svd(reduced)
    values = np.concatenate([values, np.zeros(len(rows) - len(values))])
    return values[::-1], rows[::-1].T


def _gap(values: np.ndarray, exact: float) -> tuple[float, float]:
    zero, other = values[values < exact], values[values >= exact]
    return float(zero.max(initial=0.0)), float(other.min(initial=np.inf))


def _defect(vector: np.ndarray, sums: np.ndarray, mean: np.ndarray) -> float:
    bound = mean @ vector**2
    return float(np.sqrt(np.mean((sums @ vector) ** 2) / bound)) if bound > 0 else 0.0


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


def _independent(vector: np.ndarray, basis: list[np.ndarray]) -> bool:
    if not basis:
        return True
    ranks = (
        np.linalg.matrix_rank(np.array(rows), tol=RANK)
        for rows in (basis, [*basis, vector])
    )
    return len(set(ranks)) == 2


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
    for _ in range(ORDERS if dimension > 1 else 1):
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
    return trial if _weight(trial) < _weight(vector) else vector


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
