"""Solving with the mass matrix: all three ways against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from lagrangian.lowering.kernels.fused import fused
from lagrangian.lowering.kernels.linear_solve import (
    UNROLLED,
    invert,
    solve_dense,
    solve_in_lanes,
    solve_mass,
)


def solved(structure, numbers, right):
    size = len(right)
    entries = [
        [jnp.asarray(numbers[..., i, j]) for j in range(size)] for i in range(size)
    ]
    return jnp.stack(solve_mass(structure, entries, list(right)), -1)


def symbols(size, zeros=()):
    return sp.Matrix(
        size,
        size,
        lambda i, j: 0 if (min(i, j), max(i, j)) in zeros else sp.Symbol(f"m{i}{j}"),
    )


def random_symmetric(generator, size, batch=()):
    numbers = generator.normal(size=(*batch, size, size))
    return numbers + np.swapaxes(numbers, -1, -2)


@pytest.mark.parametrize("size", [1, 2, 5, UNROLLED, UNROLLED + 1, 16])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_it_solves_indefinite_systems(size, batch):
    generator = np.random.default_rng(size)
    numbers = random_symmetric(generator, size, batch)
    right = generator.normal(size=(size, *batch))
    with jax.enable_x64(True):
        found = solved(symbols(size), numbers, right)
    expected = np.linalg.solve(numbers, np.moveaxis(right, 0, -1)[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 12])
@pytest.mark.parametrize("zeros", [(), [(0, 0)], [(1, 1), (2, 2)]])
def test_lanes_are_solved_within_one_kernel(size, zeros):
    generator = np.random.default_rng(size)
    numbers = random_symmetric(generator, size, (7,)) + 4 * np.eye(size)[::-1]
    zeros = [z for z in zeros if max(z) < size and size > 1]
    for i, j in zeros:
        numbers[:, i, j] = 0
    right = generator.normal(size=(size, 7))
    structure = symbols(size, zeros)

    def both(numbers, right):
        entries = jnp.moveaxis(numbers, 0, -1)
        rows = [[entries[i, j] for j in range(size)] for i in range(size)]
        return jnp.stack(solve_in_lanes(structure, rows, list(right))), invert(
            structure, entries
        )

    with jax.enable_x64(True):
        found, inverse = jax.jit(fused(both))(numbers, right)
    expected = np.linalg.solve(numbers, right.T[..., None])[..., 0].T
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    if size > 1:
        product = np.einsum("ijl,jl->il", inverse, right)
        np.testing.assert_allclose(product, expected, rtol=1e-8, atol=1e-10)


def test_symbolic_zeros_are_left_out():
    """An arrow: the factor fills nothing in, and no operation touches the zeros."""
    size = 5
    zeros = {(i, j) for i in range(size - 1) for j in range(i + 1, size - 1)}
    generator = np.random.default_rng(0)
    numbers = random_symmetric(generator, size)
    for i, j in zeros:
        numbers[i, j] = numbers[j, i] = np.nan  # would spread if it were used
    right = generator.normal(size=size)
    with jax.enable_x64(True):
        found = solved(symbols(size, zeros), numbers, right)
    expected = np.linalg.solve(np.nan_to_num(numbers), right)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_diagonal_matrix_divides():
    structure = sp.diag(*sp.symbols("a b c"))
    found = solved(structure, np.diag([2.0, -4.0, 8.0]), np.ones(3))
    np.testing.assert_allclose(found, [0.5, -0.25, 0.125])


def test_a_zero_on_the_diagonal_needs_no_pivot():
    structure = sp.Matrix([[0, sp.Symbol("a")], [sp.Symbol("a"), sp.Symbol("b")]])
    found = solved(structure, np.array([[0.0, 2.0], [2.0, 1.0]]), np.array([4.0, 6.0]))
    np.testing.assert_allclose(found, [2.0, 2.0])


@pytest.mark.parametrize("size", [3, UNROLLED + 1])
def test_it_has_derivatives_and_keeps_types(size):
    generator = np.random.default_rng(1)
    numbers = random_symmetric(generator, size) + 4 * size * np.eye(size)
    right = jnp.asarray(generator.normal(size=size), jnp.float32)
    f = lambda b: solved(symbols(size), numbers.astype(np.float32), b)
    assert f(right).dtype == jnp.float32
    np.testing.assert_allclose(
        jax.jit(jax.jacrev(f))(right), np.linalg.inv(numbers), rtol=2e-3, atol=1e-5
    )


def test_the_elimination_agrees_with_lapack():
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        for size in (1, 2, 5, 12):
            matrix = generator.normal(size=(size, size))
            matrix[0, 0] = 0 if size > 1 else 1  # a pivot that must be exchanged
            right = generator.normal(size=size)
            found = solve_dense(jnp.asarray(matrix), jnp.asarray(right))
            expected = np.linalg.solve(matrix, right)
            np.testing.assert_allclose(found, expected, rtol=1e-11)
