"""Sampled pairings of terms with gradients: what is null, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


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


@dataclass(frozen=True)
class Pairings:
    """<g, xi> of each term and the squares of the same sums with random signs.

    Both have the shape (rows, terms).
    """

    sums: np.ndarray
    squares: np.ndarray

    @cached_property
    def mean(self) -> np.ndarray:
        return self.squares.mean(axis=0)

    @cached_property
    def scale(self) -> np.ndarray:
        """What a term's pairing would be with random signs."""
        return np.sqrt(np.where(self.mean > 0, self.mean, 1.0))

    @cached_property
    def gram(self) -> np.ndarray:
        return self.sums.T @ self.sums / len(self.sums)

    @cached_property
    def singular(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values from small to large, and vectors as columns; both scaled."""
        matrix = self.sums / self.scale / np.sqrt(len(self.sums))
        if len(matrix) > len(matrix.T):
            matrix = np.linalg.qr(matrix, mode="r")
        _, values, rows = np.linalg.svd(matrix)
        values = np.concatenate([values, np.zeros(len(rows) - len(values))])
        return values[::-1], rows[::-1].T

    def of(self, vector: np.ndarray, gap: tuple[float, float]) -> Solution:
        bound = self.mean @ vector**2
        square = np.mean((self.sums @ vector) ** 2)
        return Solution(
            vector, float(np.sqrt(square / bound)) if bound > 0 else 0.0, gap
        )


def widest_gap(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Of sorted singular values, those beside the widest gap between two bounds.

    Args:
        values: from small to large.
        low: what is below it is rounding, and no reason for a gap.
        high: the largest that could be rounding.

    Returns:
        The largest that counts as zero (0 where none does), and the smallest that does
        not (infinite where all do).
    """
    marks = np.array([low, *values, high])
    inside = np.sort(np.clip(marks, low, high))
    widest = int(np.argmax(np.diff(np.log(inside))))
    bound = np.sqrt(inside[widest] * inside[widest + 1])
    zero, other = values[values < bound], values[values >= bound]
    return float(zero.max(initial=0.0)), float(other.min(initial=np.inf))
