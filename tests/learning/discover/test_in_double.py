"""Programs in short types, evaluated in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lagrangian.learning.discover.in_double import evaluated

X = np.linspace(0.1, 1.3, 24).reshape(2, 3, 4)


PROGRAMS = {
    "sums": lambda x: jnp.sum(jnp.exp(x) * x.mean(-1, keepdims=True)),
    "scatter": lambda x: jnp.zeros(5, x.dtype).at[jnp.array([1, 1, 3])].add(x[0, :, 0]),
    "gather": lambda x: x[:, jnp.array([0, 2, 2])],
    "scan": lambda x: lax.scan(lambda c, r: (jnp.sin(c + r), c), x[0], x),
    "loop": lambda x: lax.fori_loop(0, 4, lambda i, c: jnp.cos(c) * x[0, i % 3, 0], x),
    "while": lambda x: lax.while_loop(lambda c: c.sum() < 90, lambda c: c * 1.5, x),
    "branches": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "convolution": lambda x: lax.conv(
        x[None], jnp.ones((2, 2, 2, 2), x.dtype), (1, 1), "SAME"
    ),
    "windows": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 2, 2), (1, 1, 1), "SAME"
    ),
    "sorting": lambda x: jnp.sort(jnp.sin(9 * x), -1),
    "custom rules": lambda x: jax.nn.softmax(jax.nn.relu(x - 0.5)),
    "checkpoint": jax.checkpoint(lambda x: jnp.tanh(x) ** 3),
    "sub-programs": jax.jit(lambda x: jax.vmap(jnp.dot)(x[:, 0], x[:, 1])),
    "gradients": lambda x: jax.grad(lambda x: jnp.prod(jnp.sin(x)))(x[0, 0]),
    "stopped": lambda x: lax.stop_gradient(x) * x,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_in_float32_gives_what_float64_would(name):
    """To rounding of float64, where the constants are the same numbers in both."""
    program = jax.make_jaxpr(PROGRAMS[name])(X.astype(np.float32))
    with jax.enable_x64(True):
        rounded = set()
        values = jax.jit(evaluated(program, rounded))(X)
        expected = jax.tree.leaves(PROGRAMS[name](jnp.asarray(X)))
    assert rounded == set()
    for value, exact in zip(values, expected, strict=True):
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, exact, rtol=1e-13, atol=1e-14)


def test_random_numbers_are_those_of_the_model():
    def masked(x):
        return x * jax.random.bernoulli(jax.random.key(1), 0.5, x.shape)

    program = jax.make_jaxpr(masked)(X.astype(np.float32))
    with jax.enable_x64(True):
        (value,) = evaluated(program)(X)
    short = np.asarray(masked(X.astype(np.float32)))
    np.testing.assert_array_equal(np.asarray(value) != 0, short != 0)


def test_bfloat16_is_left_behind():
    def short(x):
        return jnp.exp(x.astype(jnp.bfloat16)).sum(-1)

    program = jax.make_jaxpr(short)(X.astype(np.float32))
    with jax.enable_x64(True):
        (value,) = evaluated(program)(X)
    np.testing.assert_allclose(value, np.exp(X).sum(-1), rtol=1e-14)


def test_what_looks_at_bits_is_noted():
    def bits(x):
        return lax.bitcast_convert_type(x, jnp.int32) % 2

    program = jax.make_jaxpr(bits)(X.astype(np.float32))
    with jax.enable_x64(True):
        rounded = set()
        evaluated(program, rounded)(X)
    assert rounded == {"bitcast_convert_type"}
