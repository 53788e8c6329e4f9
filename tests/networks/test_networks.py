"""The small networks, and the symmetries that their architecture gives them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.networks import networks

random = np.random.default_rng(0)
ROWS = 48
LABELS = jnp.asarray(random.integers(0, 3, ROWS))
FLAT = jnp.asarray(random.normal(size=(ROWS, 6)), jnp.float32), LABELS
IMAGES = jnp.asarray(random.normal(size=(ROWS, 6, 6, 1)), jnp.float32), LABELS
TOKENS = tuple(jnp.asarray(random.integers(0, 7, (ROWS, 6))) for _ in range(2))


def loss(model, batch):
    logits = model(batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def sizes(model, batch, *words):
    """The generators of each row whose description has all the words."""
    found = lg.discover(model, loss, batch)
    return [
        row.generators
        for row in found.rows
        if row.kind == "exact" and all(word in row.description for word in words)
    ]


def test_skip_connections_tie_scales_together():
    model = networks.ResidualNetwork(nnx.Rngs(0), width=5, hidden=7, blocks=2)
    # A unit of the stream scales with all that writes to it and all that reads it.
    assert sizes(model, FLAT, "rescale embed unit", "second.0", "second.1", "head") == [
        5
    ]
    assert sizes(model, FLAT, "rescale first.0") == [7]
    assert sizes(model, FLAT, "rescale second.0") == []


@pytest.mark.parametrize(("kind", "groups"), [("batch", 8), ("group", 2)])
def test_normalised_convolutions_have_a_scale_a_group(kind, groups):
    model = networks.ConvolutionalClassifier(nnx.Rngs(0), kind, epsilon=1e-20)
    assert sizes(model, IMAGES, "scale of", "conv2.kernel") == [groups]


def test_heads_of_attention_have_their_general_linear_groups():
    model = networks.Transformer(nnx.Rngs(0), width=8, heads=2)
    group = 2 * (8 // 2) ** 2
    assert sum(sizes(model, TOKENS, "key.kernel[..., k1, k2]", "query")) == group
    assert sum(sizes(model, TOKENS, "out.kernel", "value.kernel")) == group


def test_tied_weights_have_none_of_the_untied_ones():
    found = lg.discover(
        networks.TiedAutoencoder(nnx.Rngs(0)),
        lambda model, batch: jnp.mean((model(batch[0]) - batch[0]) ** 2),
        FLAT,
    )
    assert found.dimension == 0


def test_parameters_may_be_float64():
    with jax.enable_x64(True):
        model = networks.Perceptron((6, 4, 3), nnx.Rngs(0), param_dtype=jnp.float64)
        assert model(jnp.ones((2, 6))).dtype == jnp.float64
