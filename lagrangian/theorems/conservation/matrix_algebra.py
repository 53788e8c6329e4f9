"""The Lie algebra that matrices generate, and where it moves a point.

Fields that are linear in a matrix X, X' = A X, have brackets that are commutators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from lagrangian.learning.count_laws import row_space


def products(inputs: int, outputs: int) -> np.ndarray:
    """The fields of the entries of U V^T on X = (U; V): X' = S X.

    Returns:
        One symmetric S for each entry, shape (entries, n, n) with n = inputs + outputs.
    """
    size = outputs + inputs
    pairs = [(i, outputs + j) for i in range(outputs) for j in range(inputs)]
    found = np.zeros((len(pairs), size, size), int)
    for k, (i, j) in enumerate(pairs):
        found[k, i, j] = found[k, j, i] = 1
    return found


def generated(matrices: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the Lie algebra of these; shape (dimension, n, n)."""
    size = matrices.shape[-1]
    basis = row_space(matrices.reshape(len(matrices), -1).astype(float))
    while True:
        a = basis.reshape(-1, 1, size, size)
        brackets = a @ matrices - matrices @ a
        larger = row_space(np.concatenate([basis, brackets.reshape(-1, size**2)]))
        if len(larger) == len(basis):
            return basis.reshape(-1, size, size)
        basis = larger


def in_motion(matrices: np.ndarray, friction: float) -> np.ndarray:
    """The fields in phase space, of X'' + friction X' = S X, and of time.

    On (X; X'), and on (t; 1) below it, so that time runs where X does.

    Returns:
        The motion without force, and one for each S; shape (fields, 2n + 2, 2n + 2).
    """
    n = matrices.shape[-1]
    found = np.zeros((len(matrices) + 1, 2 * n + 2, 2 * n + 2))
    found[0, :n, n : 2 * n] = np.eye(n)
    found[0, n : 2 * n, n : 2 * n] = -friction * np.eye(n)
    found[0, -2, -1] = 1.0
    found[1:, n : 2 * n, :n] = matrices
    return found


def orbit(algebra: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where the fields of `in_motion` move x = (X; X') and time.

    Args:
        algebra: shape (dimension, 2n + 2, 2n + 2).
        x: shape (2n, r).

    Returns:
        Orthonormal rows of (X; X') and then t.
    """
    moved = (algebra[:, :-2, :-2] @ x).reshape(len(algebra), -1)
    return row_space(np.concatenate([moved, algebra[:, -2, -1:]], axis=1))


def exact_orbit(matrices: np.ndarray, x: np.ndarray) -> int:
    """The dimension of where the algebra moves x, in whole numbers, by SymPy.

    Args:
        matrices: of whole numbers, shape (fields, n, n).
        x: of whole numbers, (n, r).
    """
    chosen: list[Any] = []
    fresh = [sp.Matrix(a) for a in matrices]
    while fresh:
        found = []
        for a in fresh:
            if _rank([*chosen, a]) > len(chosen):
                chosen.append(a)
                found += [a * sp.Matrix(b) - sp.Matrix(b) * a for b in matrices]
        fresh = found
    return _rank([a * sp.Matrix(x) for a in chosen])


def _rank(matrices: list[Any]) -> int:
    return sp.Matrix([list(a) for a in matrices]).rank()
