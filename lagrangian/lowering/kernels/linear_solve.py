"""Solving with a mass matrix of known symbolic structure, without inverting it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp

from lagrangian.lowering.kernels.fused import largest, smallest, total
from lagrangian.lowering.platform import on_cpu

#: Above this size an unrolled factorisation compiles slowly, and LAPACK is as fast.
UNROLLED = 8
#: The same where LAPACK cannot be called: in the loops of ensembles, and in a step of a
#: Taylor series, where a loop over the columns costs no more and compiles in less time.
UNROLLED_IN_LANES = 4
#: Up to here in the threads of an accelerator, which cannot compute a register's place.
_UNROLLED_IN_THREADS = 8


def solve_mass(matrix: sp.Matrix, entries: Any, forcing: list[Any]) -> list[Any]:
    """The accelerations M^-1 forcing from the numeric `entries` of `matrix`.

    Diagonal matrices divide; small ones are factored as L D L^T in place, with the
    symbolic zeros of `matrix` left out; large ones, and those with a zero on
    the diagonal, go to LU. None assumes a positive definite M, which kinetic energies
    of indefinite metric do not have.

    Args:
        matrix: the symbolic mass matrix, for its structure.
        entries: `entries[i][j]`, scalars or arrays of one batch shape.
        forcing: the right-hand side, one entry a coordinate.
    """
    size = matrix.rows
    if is_diagonal(matrix):
        return [forcing[i] / entries[i][i] for i in range(size)]
    if size > UNROLLED or needs_pivots(matrix):
        # One stack of everything: nested ones compile more slowly.
        flat = [entry for row in entries for entry in row] + list(forcing)
        stacked = jnp.stack(jnp.broadcast_arrays(*flat), -1)
        dense = stacked[..., : size * size].reshape(*stacked.shape[:-1], size, size)
        right = stacked[..., size * size :, None]
        solution = jnp.linalg.solve(dense, right)[..., 0]
        return [solution[..., i] for i in range(size)]
    return solve_ldl(matrix, entries, forcing)


def solve_in_lanes(matrix: sp.Matrix, entries: Any, forcing: list[Any]) -> list[Any]:
    """As `solve_mass` for arrays of shape (lanes,), without a call into LAPACK.

    That could not stand within a loop that is one kernel.
    """
    size = matrix.rows
    most = UNROLLED_IN_LANES if on_cpu() else _UNROLLED_IN_THREADS
    small = size <= most and not needs_pivots(matrix)
    if is_diagonal(matrix):
        return solve_mass(matrix, entries, forcing)
    if small:
        return solve_ldl(matrix, entries, forcing)
    flat = [entry for row in entries for entry in row] + list(forcing)
    stacked = jnp.stack(jnp.broadcast_arrays(*flat))
    dense = stacked[: size * size].reshape(size, size, *stacked.shape[1:])
    solution = _eliminated(dense, stacked[size * size :, None], _exchanged_in_lanes)
    return list(solution[:, 0])


def solve_stacked(matrix: sp.Matrix, entries: Any, forcing: Any) -> Any:
    """As `solve_in_lanes` for arrays of shape (n, n, lanes) and (n, lanes)."""
    exchanged = _exchanged_in_lanes if needs_pivots(matrix) else None
    return _eliminated(entries, forcing[:, None], exchanged)[:, 0]


def solve_dense(matrix: Any, right: Any) -> Any:
    """matrix^-1 right for arrays of shape (n, n) and (n,), without calling LAPACK."""
    return _eliminated(matrix, right[:, None], _exchanged)[:, 0]


def is_diagonal(matrix: sp.Matrix) -> bool:
    """Whether nothing is written off the diagonal; SymPy would look for proofs of 0."""
    return all(i == j for i, j in matrix.todok())


def needs_pivots(matrix: sp.Matrix) -> bool:
    """Whether a factorisation in place would divide by a zero of the structure."""
    return any(matrix[i, i] == 0 for i in range(matrix.rows))


def solve_ldl(matrix: sp.Matrix, entries: Any, forcing: list[Any]) -> list[Any]:
    """As `solve_mass`, by L D L^T alone, of anything that has the four operations."""
    size = matrix.rows
    lower: dict[tuple[int, int], Any] = {}
    pivots: list[Any] = []
    for j in range(size):
        held = [(k, lower[j, k]) for k in range(j) if (j, k) in lower]
        pivot = entries[j][j]
        for k, factor in held:
            pivot = pivot - factor * factor * pivots[k]
        pivots.append(pivot)
        for i in range(j + 1, size):
            fill = [(k, f) for k, f in held if (i, k) in lower]
            if matrix[i, j] == 0 and not fill:
                continue
            value = entries[i][j]
            for k, factor in fill:
                value = value - lower[i, k] * factor * pivots[k]
            lower[i, j] = value / pivot
    solution = list(forcing)
    for i in range(size):
        for j in range(i):
            if (i, j) in lower:
                solution[i] = solution[i] - lower[i, j] * solution[j]
    solution = [x / d for x, d in zip(solution, pivots, strict=True)]
    for i in reversed(range(size)):
        for j in range(i + 1, size):
            if (j, i) in lower:
                solution[i] = solution[i] - lower[j, i] * solution[j]
    return solution


def invert(matrix: sp.Matrix, entries: Any) -> Any:
    """The inverses of numeric matrices, for many right-hand sides that follow.

    Args:
        matrix: the symbolic matrix, for its structure.
        entries: shape (n, n, lanes).

    Returns:
        shape (n, n, lanes), or the inverted diagonal (n, lanes) of a diagonal matrix.
    """
    size, lanes = matrix.rows, entries.shape[-1]
    if is_diagonal(matrix):
        return 1 / jnp.stack([entries[i, i] for i in range(size)])
    if size <= UNROLLED_IN_LANES and not needs_pivots(matrix):
        rows = [[entries[i, j] for j in range(size)] for i in range(size)]
        one, zero = jnp.ones(lanes), jnp.zeros(lanes)
        columns = [
            solve_ldl(matrix, rows, [one if i == j else zero for i in range(size)])
            for j in range(size)
        ]
        return jnp.stack([jnp.stack(column) for column in columns], 1)

    identity = jnp.broadcast_to(jnp.eye(size)[..., None], entries.shape)
    exchanged = _exchanged_in_lanes if needs_pivots(matrix) else None
    return _eliminated(entries, identity, exchanged)


def felt(matrix: sp.Matrix, entries: Any, sizes: Any) -> Any:
    """How large the solution can be for right-hand sides of these sizes.

    Args:
        matrix: the symbolic matrix, for its structure.
        entries: shape (n, n, lanes).
        sizes: shape (n, lanes).
    """
    inverse = jnp.abs(invert(matrix, entries))
    return inverse * sizes if inverse.ndim == 2 else jnp.sum(inverse * sizes, axis=1)


def _eliminated(
    matrix: Any, right: Any, exchanged: Callable[[Any, Any], Any] | None
) -> Any:
    """matrix^-1 right by Gauss's elimination, as a loop that stays small.

    Args:
        matrix: shape (n, n), or (n, n, lanes).
        right: shape (n, m), or (n, m, lanes).
        exchanged: brings the row with the largest element of column k to place k.
    """
    size = len(matrix)

    def eliminate(k: Any, work: Any) -> Any:
        if exchanged is not None:
            work = exchanged(k, work)
        row = work[k] / work[k, k]
        factor = work[:, k].at[k].set(0.0)
        return (work - factor[:, None] * row[None]).at[k].set(row)

    work = jax.lax.fori_loop(0, size, eliminate, jnp.concatenate([matrix, right], 1))
    return work[:, size:]


def _exchanged(k: Any, work: Any) -> Any:
    """Of one matrix."""
    rows = jnp.arange(len(work))
    pivot = jnp.argmax(jnp.where(rows < k, -1.0, jnp.abs(work[:, k])))
    row, other = work[pivot], work[k]
    return work.at[pivot].set(other).at[k].set(row)


def _exchanged_in_lanes(k: Any, work: Any) -> Any:
    """Of many, in the last axis, each by its own row."""
    rows = jnp.arange(len(work))[:, None]
    candidates = jnp.where(rows < k, -1.0, jnp.abs(work[:, k]))
    # Not argmax: its pair of reductions cannot be inside of one kernel.
    is_largest = candidates == largest(candidates)
    first = smallest(jnp.where(is_largest, rows, float(len(work))))
    chosen = (rows == first)[:, None]
    pivot = total(jnp.where(chosen, work, 0.0))
    work = jnp.where(chosen, work[k], work)
    return jax.lax.dynamic_update_index_in_dim(work, pivot, k, 0)
