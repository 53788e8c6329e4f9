"""Fast sine and cosine against mpmath, and their derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from lagrangian.lowering.kernels import trigonometry


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def arguments():
    random = np.random.default_rng(0)
    return np.concatenate(
        [
            random.uniform(-10, 10, 2000),
            random.uniform(-1e6, 1e6, 2000),
            np.arange(-400, 400) * (np.pi / 2),
            np.pi / 2 * random.integers(1, 600_000, 500),
            [0.0, -0.0, 1e-300, 999_999.9],
        ]
    )


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_the_error_is_at_most_two_rounding_errors_of_one(name):
    x = arguments()
    exact = np.array([float(getattr(mpmath, name)(mpmath.mpf(value))) for value in x])
    computed = np.asarray(getattr(trigonometry, name)(jnp.asarray(x)))
    assert np.abs(computed - exact).max() <= 4.5e-16


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_huge_and_missing_arguments_are_as_in_jax_and_change_no_neighbour(name):
    ours, theirs = getattr(trigonometry, name), getattr(jnp, name)
    calm = jnp.asarray([0.3, 4.0])
    wild = jnp.asarray([0.3, 1e9, 4.0, jnp.nan, jnp.inf])
    values = np.asarray(ours(wild))
    np.testing.assert_array_equal(values[[1, 3, 4]], theirs(wild)[jnp.array([1, 3, 4])])
    np.testing.assert_array_equal(values[[0, 2]], ours(calm))


def test_derivatives_of_all_kinds():
    x = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(trigonometry.sin))(x), jnp.cos(x), atol=1e-15
    )
    np.testing.assert_allclose(
        jax.vmap(jax.grad(jax.grad(trigonometry.cos)))(x), -jnp.cos(x), atol=1e-15
    )
    tangent = jax.jvp(trigonometry.cos, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(tangent, -jnp.sin(x), atol=1e-15)


def test_a_batch_decides_once():
    # `vmap` of a condition would compute both of its branches, and lose the speed.
    compiled = jax.jit(jax.vmap(trigonometry.sin)).lower(jnp.ones(8)).as_text()
    assert "stablehlo.case" in compiled
    np.testing.assert_array_equal(
        jax.vmap(trigonometry.sin)(jnp.arange(8.0)), trigonometry.sin(jnp.arange(8.0))
    )


def test_float32_is_left_to_jax():
    x = jnp.asarray([0.5, 2.0], jnp.float32)
    assert trigonometry.sin(x).dtype == jnp.float32
    np.testing.assert_array_equal(trigonometry.sin(x), jnp.sin(x))
