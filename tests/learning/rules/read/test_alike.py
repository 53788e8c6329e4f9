"""Arrays that are treated alike are read once, and others are not taken for them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lagrangian.learning.rules.read.alike import read_alike
from lagrangian.learning.rules.read.elements import read_elements
from lagrangian.learning.rules.read.trace import trace

LAYERS = 3
PARAMETERS = {
    f"layer{i}": {"kernel": np.zeros((4, 4)), "bias": np.zeros(4), "scale": np.ones(4)}
    for i in range(LAYERS)
}


def kernels(tree):
    return jax.tree.map(lambda x: jnp.ndim(x) > 1, tree)


def by_name(tree):
    return {layer: {n: n for n in arrays} for layer, arrays in tree.items()}


def by_layer(tree):
    """Learning rates that fall with the depth, of which there are as many as layers."""
    return {
        layer: jax.tree.map(lambda _, i=i: 0.5 ** (len(tree) - i), arrays)
        for i, (layer, arrays) in enumerate(tree.items())
    }


def scaled_by_layer():
    def update(updates, state, params=None):
        return jax.tree.map(lambda u, s: -s * u, updates, by_layer(updates)), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


LABELS = by_name(PARAMETERS)
#: A chain, and how many arrays of nine are read.
CHAINS = {
    "adamw": (lambda: optax.adamw(1e-3), 4),
    "clipped": (
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9)),
        4,
    ),
    "clipped by blocks": (
        lambda: optax.chain(optax.clip_by_block_rms(1.0), optax.sgd(0.1, 0.9)),
        4,
    ),
    "lamb": (lambda: optax.lamb(1e-3), 4),
    "masked": (
        lambda: optax.chain(
            optax.add_decayed_weights(0.1, kernels), optax.sgd(0.1, 0.9)
        ),
        4,
    ),
    "labels by a function": (
        lambda: optax.multi_transform(
            {
                "kernel": optax.adam(1e-3),
                # Alike in the first hundred steps, and another then.
                "bias": optax.sgd(optax.piecewise_constant_schedule(0.1, {100: 0.5})),
                "scale": optax.sgd(optax.piecewise_constant_schedule(0.1, {100: 0.1})),
            },
            by_name,
        ),
        6,
    ),
    "labels in a tree": (
        lambda: optax.multi_transform(
            {
                "kernel": optax.adam(1e-3),
                "bias": optax.sgd(0.1),
                "scale": optax.lion(1),
            },
            LABELS,
        ),
        6,
    ),
    "rates by layer": (scaled_by_layer, 3 * LAYERS),
    "a schedule": (lambda: optax.adam(optax.cosine_decay_schedule(0.1, 10)), 4),
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_is_read_once_is_what_is_read_of_each(name):
    make, count = CHAINS[name]
    few = read_alike(make(), PARAMETERS)
    each = read_elements(trace(make(), PARAMETERS))
    assert list(few.parts) == list(each.parts)
    for leaf, part in each.parts.items():
        assert few.parts[leaf].leaf == leaf
        assert few.parts[leaf].form == part.form
        assert few.parts[leaf].sums == part.sums
    assert len(few.traced.leaves) == count


def test_noise_that_is_drawn_for_each_array_is_not_shared():
    few = read_alike(optax.noisy_sgd(0.1, key=0), PARAMETERS)
    assert all(part.noise for part in few.parts.values())
