"""Bilinear forms as data, against the same sums by NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian.lowering.bilinear import Bilinear, evaluated


def test_forms_of_matrices_with_empty_and_long_rows():
    chance = np.random.default_rng(0)
    matrices = chance.normal(size=(2, 3, 5, 6)) * (chance.random((2, 3, 5, 6)) < 0.4)
    matrices[0, 1], matrices[1, 2] = 0.0, 1.0  # no summand, and all of them
    x, y = chance.normal(size=5), chance.normal(size=(2, 3))
    form = Bilinear.of_matrices(matrices, ((5,), (2, 3)))
    found = evaluated([(form, jnp.asarray(x), jnp.asarray(y)), (-form, x, y)])
    exact = np.einsum("abij,i,j->ab", matrices, x, y.ravel())
    expected = np.concatenate([exact.ravel(), -exact.ravel()])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found[1] == 0.0


@pytest.mark.parametrize("shape", [(), (1, 3), (4, 1)])
def test_what_is_paired_is_broadcast(shape):
    chance = np.random.default_rng(1)
    x, y = chance.normal(size=shape), chance.normal(size=(4, 3))
    form = Bilinear.inner((4, 3), 1)
    found = evaluated([(form, jnp.asarray(x), jnp.asarray(y))])
    np.testing.assert_allclose(found, (x * y).sum(axis=0), rtol=1e-5, atol=1e-6)


def test_half_precision_is_summed_in_single():
    x = jnp.full(64, 1 + 2**-7, jnp.bfloat16)
    found = evaluated([(Bilinear.inner((64,), None), x, x)])
    assert found.dtype == jnp.float32
    assert float(found[0]) == 64 * (1 + 2**-7) ** 2


def test_forms_without_any_summand_are_zero():
    form = Bilinear.of_matrices(np.zeros((3, 2, 2)), ((2,), (2,)))
    np.testing.assert_array_equal(evaluated([(form, jnp.ones(2), jnp.ones(2))]), 0.0)
