"""Batches, losses and networks for the tests of `discover`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx


@pytest.fixture
def cross_entropy():
    def loss(model, batch):
        inputs, labels = batch
        logits = model(inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss


@pytest.fixture
def vectors():
    """32 inputs of 6 numbers, and one of 3 labels each."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(32, 6)), generator.integers(0, 3, 32)


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return generator.normal(size=(32, 8, 8, 1)), generator.integers(0, 3, 32)


@pytest.fixture
def tokens():
    generator = np.random.default_rng(0)
    return generator.integers(0, 7, (32, 6)), generator.integers(0, 7, (32, 6))


@pytest.fixture
def double():
    """Makes a network with float64 parameters."""

    def make(kind, *arguments, **keywords):
        with jax.enable_x64(True):
            rngs = nnx.Rngs(0)
            return kind(*arguments, rngs=rngs, param_dtype=jnp.float64, **keywords)

    return make


@pytest.fixture
def dense_dimension():
    """Counts all affine generators of a tiny model, without any ansatz.

    <grad f, A theta + b> = 0 for every entry of A and b: the null space of the outer
    products of sampled gradients with (theta, 1). Parameters are drawn independently.
    """

    def count(model, loss, batch):
        with jax.enable_x64(True):
            batch = jax.tree.map(jnp.asarray, batch)
            graph, tree, rest = nnx.split(model, nnx.Param, ...)
            flat, unflatten = jax.flatten_util.ravel_pytree(tree)

            def value(q, rows):
                model = nnx.merge(graph, unflatten(q), rest, copy=True)
                return loss(model, rows)

            size = flat.size
            draws = 2 * size * (size + 1)
            keys = jax.random.split(jax.random.key(5), draws)

            def row(key):
                key, other = jax.random.split(key)
                q = jax.random.normal(key, (size,))
                chosen = jax.random.choice(other, 32, (8,), replace=False)
                g = jax.grad(value)(q, jax.tree.map(lambda a: a[chosen], batch))
                # Where every relu is off the gradient is zero, and says nothing.
                g = g / jnp.maximum(jnp.linalg.norm(g), 1e-300)
                return jnp.outer(g, jnp.append(q, 1.0)).ravel()

            rows = np.asarray(jax.jit(jax.vmap(row))(keys))
        values = np.linalg.svd(rows, compute_uv=False)
        zero = values < 1e-9 * values[0]
        assert values[~zero].min() > 1e-4 * values[0]  # the gap leaves no doubt
        return int(zero.sum())

    return count
