"""Whether the accelerations are determined: the rank of the mass matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from lagrangian.errors import InvalidLagrangian
from lagrangian.symbolic.mechanics.lagrangian import Lagrangian


def check_regular(
    lagrangian: Lagrangian, matrix: Any, parameters: Mapping[Any, Any]
) -> None:
    """Raise if `matrix` (with its constraints, if any) is singular at every state.

    Its rank is taken at one state in general position, where it is the largest; a
    matrix that is singular at single states only passes.

    Raises:
        InvalidLagrangian: names the combinations of velocities without inertia.
    """
    values = {
        symbol: _number(parameters.get(symbol), i)
        for i, symbol in enumerate(sorted(matrix.free_symbols, key=str))
    }
    try:
        numbers = np.array(matrix.xreplace(values).tolist(), np.complex128)
    except TypeError:  # a function without a value there, such as a Piecewise
        return
    if not np.isfinite(numbers).all():
        return
    if listed := without_inertia(numbers, lagrangian.coordinates):
        raise InvalidLagrangian(
            "the Lagrangian is degenerate: its mass matrix is singular, and no "
            f"acceleration follows for {listed}. Add a kinetic term for it, or a "
            "constraint that fixes it."
        )


def without_inertia(matrix: np.ndarray, coordinates: tuple[Any, ...]) -> str:
    """The combinations of velocities that a matrix moves nowhere; empty if regular."""
    scaled, weights = _equilibrated(matrix, len(coordinates))
    _, sizes, directions = np.linalg.svd(scaled)
    null = directions[sizes <= 1e-12 * sizes[0]].real * weights
    # The multipliers of constraints come behind the coordinates.
    null = null[:, : len(coordinates)]
    return "; ".join(_combination(row, coordinates) for row in null)


def _equilibrated(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """D M D with rows of about the same size, and the diagonal D.

    A Sun beside a probe is no degenerate system: masses in a ratio of 10^27 are not
    zero. The scales follow by iteration (Ruiz, "A scaling algorithm to equilibrate both
    rows and columns norms in matrices", 2001), from those that make the inertia of the
    first `count` rows 1: multipliers can have any unit, and would hide it.
    """
    weights = np.ones(len(matrix))
    inertia = np.abs(matrix[:count, :count]).max(axis=1)
    weights[:count] = 1 / np.sqrt(np.where(inertia > 0, inertia, 1.0))
    for _ in range(30):
        largest = np.abs(weights[:, None] * matrix * weights).max(axis=1)
        weights = weights / np.sqrt(np.where(largest > 0, largest, 1.0))
    return weights[:, None] * matrix * weights, weights


def _number(value: Any, i: int) -> Any:
    """The user's value if it is a plain number, and one in general position if not."""
    if isinstance(value, int | float | np.number):
        return sp.Float(float(value), 17)
    return sp.Float(0.31 + 0.37 * ((i * 0.6180339887) % 1.0), 17)


def _combination(row: np.ndarray, coordinates: tuple[Any, ...]) -> str:
    largest = np.abs(row).max()
    scaled = row / row[np.argmax(np.abs(row) > 0.99 * largest)]
    terms = [
        f"{weight:+.3g}*`{q.dot}`"
        for weight, q in zip(scaled, coordinates, strict=True)
        if abs(weight) > 1e-9
    ]
    return " ".join(terms).removeprefix("+").replace("1*", "").replace("+", "+ ")
