"""All affine symmetries of a loss, by linear algebra that knows of no ansatz.

A field v(q) = A q + b leaves a loss alone if, at every q, it is orthogonal to the
gradient for all data. Both counts here solve for all entries of A and b.
"""

from itertools import islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

#: Of the singular values that count as zero, the largest; and the smallest of others:
#: of gradients at one point, where those of units that are nearly off are small, and of
#: the equations for fields, in which the rounding of the former is.
AT_A_POINT, OF_FIELDS = (1e-13, 1e-11), (1e-8, 1e-6)
#: Points that are tried for one at which zeros are clear.
TRIES = 20
#: Unknowns that are solved for, and equations that each of many goes to.
MOST, COPIES = 4000, 3


class Found(NamedTuple):
    """What affine symmetries there are.

    Attributes:
        fields: how many independent ones; of a shift also each product with an affine
            function of q counts, of which there are n + 1.
        directions: how many directions they span at a random point.
        clear: whether no singular value was between zero and others.
    """

    fields: int
    directions: int
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
    _, values, vectors = np.linalg.svd(rows)
    zero, clear = _zeros(values, len(vectors), OF_FIELDS)
    null = vectors[len(vectors) - zero :].reshape(zero, size, size + 1)
    at = np.random.default_rng(0).normal(size=size + 1)
    return Found(zero, _rank(null @ at), clear)


def by_points(parameters, loss, draw, seed=0):
    """From all gradients at each of n + 1 points and some more: some hundred entries.

    An affine field is what it is at n + 1 points. At each of them it is in the space
    N_i that is orthogonal to all gradients, of few dimensions d: so there are (n + 1) d
    unknowns. At any further point it is a known sum of these values, and has to be
    orthogonal to all gradients there. Some fields are orthogonal to all but one or two
    gradients, so that as many points again are needed; their equations are mixed at
    random, to be no more than a few more than the unknowns.

    Args:
        draw: `draw(key)`, a batch.

    Returns:
        What there is; None where there are more than `MOST` unknowns.
    """
    with jax.enable_x64(True):
        flat, unflatten = jax.flatten_util.ravel_pytree(parameters)
        size = flat.size

        @jax.jit
        def gradients(q, key):
            def one(key):
                return jax.grad(lambda q: loss(unflatten(q), draw(key)))(q)

            return jax.vmap(one)(jax.random.split(key, size + 32))

        def spaces(keys):
            """A point; what is orthogonal to its gradients, and what they span.

            Where zeros are not clear at a point, say since a unit is nearly off there,
            another one is as good. Only where there is none in so many, they are not.
            """
            for key in islice(keys, TRIES):
                *found, clear = space(key)
                if clear:
                    break
            return *found, clear

        def space(key):
            one, two = jax.random.split(key)
            q = jax.random.normal(one, (size,))
            rows = np.asarray(gradients(q, two))
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.where(lengths > 0, lengths, 1.0)
            _, values, vectors = np.linalg.svd(rows, full_matrices=True)
            zero, clear = _zeros(values, size, AT_A_POINT)
            return (
                np.asarray(q),
                vectors[size - zero :].T,
                vectors[: size - zero],
                clear,
            )

        def drawn():
            key = jax.random.key(seed)
            while True:
                key, one = jax.random.split(key)
                yield one

        keys = drawn()
        base = [spaces(keys) for _ in range(size + 1)]
        clear = all(point[3] for point in base)
        unknowns = sum(point[1].shape[1] for point in base)
        if unknowns == 0:
            return Found(0, 0, clear)
        if unknowns > MOST:
            return None
        places = np.array([np.append(point[0], 1.0) for point in base])
        mixed = np.zeros((unknowns + 2 * size, unknowns))
        chance, size_of_shares = np.random.default_rng(0), 0.0
        for _ in range(size + 11):
            q, _, span, certain = spaces(keys)
            clear = clear and certain
            shares = np.linalg.solve(places.T, np.append(q, 1.0))
            size_of_shares = max(size_of_shares, float(np.linalg.norm(shares)))
            pairs = zip(shares, base, strict=True)
            rows = np.hstack([share * (span @ point[1]) for share, point in pairs])
            for _ in range(COPIES):
                signs = chance.choice([-1.0, 1.0], (len(rows), 1))
                np.add.at(
                    mixed, chance.integers(len(mixed), size=len(rows)), signs * rows
                )
    _, values, vectors = np.linalg.svd(mixed)
    # Shifts alone solve every equation: then all that is left is rounding.
    zero, certain = _zeros(values, unknowns, OF_FIELDS, size_of_shares)
    first = vectors[unknowns - zero :, : base[0][1].shape[1]]
    return Found(zero, _rank(first), clear and certain)


def _zeros(values, size, bounds, least=0.0):
    """How many of `size` singular values are zero, and whether that is clear.

    Relative to the largest, or to `least` if that is larger.
    """
    relative = np.zeros(size)
    relative[: len(values)] = values / (max(values[0], least) or 1.0)
    zero = relative < bounds[0]
    return int(zero.sum()), not (~zero & (relative < bounds[1])).any()


def _rank(rows):
    return int(np.linalg.matrix_rank(rows, tol=1e-8)) if rows.size else 0
