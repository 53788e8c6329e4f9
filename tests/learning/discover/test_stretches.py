"""Generators that are nonlinear in an embedding, found, proved and used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg

normal = np.random.default_rng(0).normal
#: Nine positions with one of five tokens each, and a class.
TOKENS = np.random.default_rng(1).integers(5, size=(40, 9))
LABELS = np.random.default_rng(2).integers(3, size=40)
RUN = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "GELU": jax.nn.gelu}


def model():
    return {"embedding": normal(size=(5, 4)), "readout": normal(size=(9, 4, 3)) / 3}


def loss(activation):
    def value(w, batch):
        tokens, labels = batch
        hidden = activation(w["embedding"])[tokens]
        logits = jnp.einsum("npi,pik->nk", hidden, w["readout"])
        found = jax.nn.log_softmax(logits)
        return -found[jnp.arange(len(labels)), labels].mean()

    return value


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_an_embedding_is_rescaled_through_its_activation(name):
    found = lg.discover(model(), loss(RUN[name]), (TOKENS, LABELS))
    (symmetry,) = [s for s in found if s.name == f"{name} rescale"]
    row = symmetry.evidence
    assert (row.kind, row.generators) == ("exact", 4)
    assert row.blocks == ("embedding", "readout") and row.residual < 1e-12
    assert row.defect < 1e-10
    assert f"through {name} of embedding" in row.description
    # Every matrix may mix what the activations give, and those off the diagonal have no
    # charge; nor have the two shifts of all tokens that move all classes alike.
    assert found.census.missing == 4 * 3 + 2
    # The charge is the engine's own.
    (block,) = [b for b in symmetry.blocks if b.name == "embedding"]
    law = lg.noether(lg.HeavyBall(0.1).lagrangian(symmetry.loss), symmetry)
    assert law.charge.has(block.dot)


def test_other_activations_have_none():
    found = lg.discover(model(), loss(RUN["GELU"]), (TOKENS, LABELS))
    assert not [s for s in found if "rescale" in s.name]


def test_a_layer_that_reads_it_with_a_norm_has_none():
    """The control: what reads the units does not shrink linearly."""

    def value(w, batch):
        tokens, labels = batch
        hidden = jnp.tanh(w["embedding"])[tokens]
        logits = jnp.einsum("npi,pik->nk", hidden, jnp.tanh(w["readout"]))
        found = jax.nn.log_softmax(logits)
        return -found[jnp.arange(len(labels)), labels].mean()

    found = lg.discover(model(), value, (TOKENS, LABELS))
    assert not [s for s in found if "rescale" in s.name]


def test_two_layers_that_read_one_embedding():
    w = model() | {"second": normal(size=(4, 2))}

    def value(w, batch):
        tokens, _ = batch
        hidden = jnp.tanh(w["embedding"])[tokens].mean(axis=1)
        beside = jnp.sum(jnp.sin(hidden @ w["second"]) ** 2, axis=-1).mean()
        return loss(jnp.tanh)(w, batch) + beside

    found = lg.discover(w, value, (TOKENS, LABELS))
    (symmetry,) = [s for s in found if s.name == "tanh rescale"]
    assert set(symmetry.evidence.blocks) == {"embedding", "readout", "second"}
