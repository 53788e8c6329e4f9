"""The matrix charges of two linear layers, entry by entry, in a training run."""

from itertools import combinations, combinations_with_replacement

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg

WIDTH = 3
RULE = lg.HeavyBall(0.02, 0.9, weight_decay=1e-2)


def entries(parity):
    """A basis of the symmetric, or antisymmetric, matrices, by their indices."""
    pairs = combinations_with_replacement if parity == 1 else combinations
    basis = {}
    for i, j in pairs(range(WIDTH), 2):
        matrix = np.zeros((WIDTH, WIDTH))
        matrix[i, j] += 0.5
        matrix[j, i] += 0.5 * parity
        basis[i, j] = matrix
    return basis


@pytest.fixture(scope="module")
def trained():
    """A run of a linear network, its laws by entry, its start, its last step."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(48, 5))
    data = inputs, inputs @ generator.normal(size=(5, 2))
    layers = {"W1": (5, WIDTH), "W2": (WIDTH, 2)}
    start = {name: 0.5 * generator.normal(size=s) for name, s in layers.items()}

    def loss(layers, batch):
        x, y = batch
        return jnp.mean((x @ layers["W1"] @ layers["W2"] - y) ** 2)

    laws, maps = {}, {}
    for parity in (1, -1):
        for (i, j), matrix in entries(parity).items():
            A = lg.ConstantBlock(f"A{i}{j}", parity=parity)
            symmetry = lg.GeneralLinear("W1", "W2", A)
            laws[parity, i, j] = lg.noether(RULE.lagrangian(symmetry.loss), symmetry)
            maps[A] = matrix
    B = lg.ConstantBlock("B", parity=1)
    # The second layer turned the wrong way: no symmetry.
    one_sided = lg.GeneralLinear("W1", "W2", B)
    broken = lg.Symmetry(dict(one_sided.xi) | {lg.blocks("W2"): lg.blocks("W2")})
    laws["broken"] = lg.noether(RULE.lagrangian(broken.loss), broken)
    maps[B] = entries(1)[0, 0]

    def train(steps):
        with jax.enable_x64(True):
            return lg.train(
                jax.tree.map(jnp.asarray, start),
                loss,
                data,
                RULE,
                steps,
                observe=list(laws.values()),
                maps=maps,
                batch_size=16,
            )

    return train(200), laws, start, train(199).model


def test_every_entry_obeys_its_law_and_a_broken_one_does_not(trained):
    run, laws, *_ = trained
    names = dict(zip(laws, lg.check(run, list(laws.values())), strict=True))
    broken = names.pop("broken")
    assert all(row.holds and row.discrete < 1e-13 for row in names.values())
    assert broken.verdict == "symmetry absent" and broken.discrete > 1e-4


def test_the_entries_are_those_of_the_matrix(trained):
    """P = W1^T W1 - W2 W2^T, before the first step and before the last one."""
    run, laws, start, before_last = trained
    for at, layers in ((0, start), (-1, before_last)):
        first, second = (np.asarray(layers[name]) for name in ("W1", "W2"))
        charge = first.T @ first - second @ second.T
        for i, j in entries(1):
            recorded = np.ravel(run[laws[1, i, j]].quantity)[at]
            np.testing.assert_allclose(recorded, charge[i, j], rtol=1e-12, atol=1e-13)
