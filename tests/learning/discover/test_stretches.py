"""Generators that are nonlinear in an embedding, found, proved and used."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lagrangian as lg
from lagrangian.learning.discover.pieces import Piece
from lagrangian.learning.discover.stretches import _readers
from lagrangian.learning.discover.units import View

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


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(-6, 6))
def test_arrays_that_read_the_units_are_those_of_a_search_one_by_one(seed, many, power):
    """With sums of one and of two that were put in, in any unit."""
    chance = np.random.default_rng(seed)
    views = [View(Piece.all_of(f"v{i // 2}", (4, 4)), (i % 2,)) for i in range(many)]
    scales = {view: 10**power * chance.normal(size=(3, 4)) for view in views}
    chosen = [views[i] for i in chance.choice(many, chance.integers(1, 3), False)]
    pairing = np.sum([scales[view] for view in chosen], axis=0)
    bound = 1e-10 * np.sqrt(np.mean(pairing**2))
    found = [
        readers
        for count in (1, 2)
        for readers in combinations(views, count)
        if len({view.path for view in readers}) == count
        and np.abs(pairing - sum(scales[r] for r in readers)).max() < bound
    ]
    assert list(_readers(pairing, views, scales, bound)) == found
