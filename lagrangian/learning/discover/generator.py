"""Generators in coordinates: a field affine in the parameters, and its flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagrangian.learning.discover.terms import CENTRED, SHIFT, SYMMETRIC, Term, paired

#: Terms of the exponential series, and below which share one is lost.
SERIES, ROUNDING = 24, 1e-16


@dataclass(frozen=True)
class Generator:
    """A family of generators: the same sum of terms for every unit, or every matrix.

    Attributes:
        terms: with their coefficients.
        defect, gap: those of `solve.Solution`.
        solved: the terms as they were solved for, those of pieces apart.
    """

    terms: tuple[tuple[Term, float], ...]
    defect: float
    gap: tuple[float, float]
    solved: tuple[tuple[Term, float], ...] = ()

    @property
    def is_matrix(self) -> bool:
        return self.terms[0][0].is_matrix

    @property
    def unused(self) -> bool:
        """Whether it shifts every entry of a piece by itself."""
        term = self.terms[0][0]
        alone = len(self.terms) == 1
        return alone and term.action == SHIFT and term.view.size == 1

    @property
    def units(self) -> tuple[int, ...]:
        return self.terms[0][0].view.units

    @property
    def count(self) -> int:
        """How many independent generators it stands for.

        The diagonal of a matrix scales its units, and is counted there.
        """
        count, width = int(np.prod(self.units, dtype=int)), self.units[-1:]
        if not self.is_matrix:
            return count
        if self.terms[0][0].action == CENTRED:
            return (width[0] - 1) * (width[0] - 2) // 2
        return count * (width[0] - 1) // 2

    def element(self, generator: np.random.Generator) -> np.ndarray:
        """A random element of the family, of a size that moves a unit by about half."""
        shape = self.terms[0][0].element_shape
        chosen = generator.uniform(0.3, 0.7, shape) * generator.choice([-1, 1], shape)
        if not self.is_matrix:
            return chosen
        sign = 1 if self.terms[0][0].action == SYMMETRIC else -1
        return (chosen + sign * np.swapaxes(chosen, -1, -2)) / np.sqrt(shape[-1])

    def field(self, theta: Mapping[str, Any], chosen: np.ndarray) -> dict[str, Any]:
        """xi at `theta` for one element of the family: an array for each path moved."""
        field: dict[str, Any] = {}
        for term, coefficient in self.terms:
            part = coefficient * term.field(theta[term.view.path], chosen)
            field[term.path] = field[term.path] + part if term.path in field else part
        return field


def flow(
    field: Callable[[Mapping[str, Any]], dict[str, Any]], theta: Mapping[str, Any]
) -> dict[str, Any]:
    """The finite transformation exp(xi) at `theta`, for a field affine in theta.

    The exponential series: every term is the last one, moved by the linear part, until
    it is lost in rounding.
    """
    start = change = field(theta)
    moved = {**theta, **{path: theta[path] + c for path, c in change.items()}}
    for order in range(2, SERIES):
        ahead = {**theta, **{path: theta[path] + c for path, c in change.items()}}
        after = field(ahead)
        change = {path: (after[path] - start[path]) / order for path in start}
        moved |= {path: moved[path] + c for path, c in change.items()}
        if all(_is_lost(c, moved[path]) for path, c in change.items()):
            break
    return moved


def _is_lost(change: Any, array: Any) -> bool:
    return paired(change, change) <= ROUNDING**2 * paired(array, array)
