"""All affine symmetries of a loss, by linear algebra that knows of no ansatz.

A field v(q) = A q + b leaves a loss alone if, at every q, it is orthogonal to the
gradient for all data. Both counts here solve for all entries of A and b.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

#: Of the singular values that count as zero, the largest; and the smallest of others.
ZERO, OTHER = 1e-10, 1e-8


class Found(NamedTuple):
    """How many there are, and whether nothing about it is unclear."""

    dimension: int
    clear: bool


def by_entries(parameters, loss, batch):
    """From one gradient for each of many q: n (n + 1) unknowns, for up to 30 or so."""
    with jax.enable_x64(True):
        flat, unflatten = jax.flatten_util.ravel_pytree(parameters)
        size = flat.size

        def row(key):
            one, two = jax.random.split(key)
            q = jax.random.normal(one, (size,))
            chosen = jax.random.choice(two, len(batch[0]), (8,), replace=False)
            g = jax.grad(lambda q: loss(unflatten(q), [a[chosen] for a in batch]))(q)
            g = g / jnp.maximum(jnp.linalg.norm(g), 1e-300)
            return jnp.outer(g, jnp.append(q, 1.0)).ravel()

        batch = [jnp.asarray(a) for a in batch]
        keys = jax.random.split(jax.random.key(5), 3 * size * (size + 1) // 2)
        rows = np.asarray(jax.jit(jax.vmap(row))(keys))
    return _nullity(np.linalg.svd(rows, compute_uv=False))


def by_points(parameters, loss, draw, seed=0):
    """From all gradients at each of n + 1 points and some more: some hundred entries.

    An affine field is what it is at n + 1 points. At each of them it is in the space
    N_i that is orthogonal to all gradients, of few dimensions d: so there are (n + 1) d
    unknowns. At any further point it is a known sum of these values, and has to be
    orthogonal to all gradients there.

    Args:
        draw: `draw(key)`, a batch.
    """
    with jax.enable_x64(True):
        flat, unflatten = jax.flatten_util.ravel_pytree(parameters)
        size = flat.size

        @jax.jit
        def gradients(q, key):
            def one(key):
                return jax.grad(lambda q: loss(unflatten(q), draw(key)))(q)

            return jax.vmap(one)(jax.random.split(key, size + 32))

        def spaces(key):
            """A point; what is orthogonal to its gradients, and what they span."""
            one, two = jax.random.split(key)
            q = jax.random.normal(one, (size,))
            rows = np.asarray(gradients(q, two))
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.where(lengths > 0, lengths, 1.0)
            _, values, vectors = np.linalg.svd(rows, full_matrices=True)
            none = _nullity(values)
            kept = size - none.dimension
            return np.asarray(q), vectors[kept:].T, vectors[:kept], none.clear

        keys = iter(jax.random.split(jax.random.key(seed), 20 * size + 100))
        base = [spaces(next(keys)) for _ in range(size + 1)]
        clear = all(point[3] for point in base)
        unknowns = sum(point[1].shape[1] for point in base)
        if unknowns == 0:
            return Found(0, clear)
        places = np.array([np.append(point[0], 1.0) for point in base])
        blocks, count = [], 0
        while count < unknowns + 2 * size:
            q, _, span, certain = spaces(next(keys))
            shares = np.linalg.solve(places.T, np.append(q, 1.0))
            parts = [
                w * (span @ point[1]) for w, point in zip(shares, base, strict=True)
            ]
            blocks.append(np.concatenate(parts, axis=1))
            count, clear = count + len(span), clear and certain
            if len(span) == 0:  # the loss does not depend on anything
                return Found(size * (size + 1), clear)
    dimension, certain = _nullity(
        scipy.linalg.svdvals(
            np.concatenate(blocks), overwrite_a=True, check_finite=True
        )
    )
    return Found(dimension, clear and certain)


def _nullity(values):
    relative = values / (values[0] or 1.0)
    zero = relative < ZERO
    return Found(int(zero.sum()), not ((relative >= ZERO) & (relative < OTHER)).any())
