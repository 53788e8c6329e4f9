"""Constant inputs: their charges, the faster bias, and the parity of odd networks."""

import numpy as np
import optax
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import constant_inputs as networks
from lagrangian.theorems.conservation import input_expansion as module
from lagrangian.theorems.theorem import Claim


def test_the_two_networks_are_one_function():
    wide, plain = networks.start(2)
    batch = networks.data(2)
    first, second = (float(networks.loss(w, batch)) for w in (wide, plain))
    assert first == pytest.approx(second, rel=1e-5)
    assert networks.apart(wide, plain) < 1e-14


def test_a_group_is_faster_by_a_factor():
    tx = networks.faster(3.0)
    w = {"bias": np.ones(2), "first": np.ones(2)}
    moved, _ = tx.update(w, tx.init(w), w)
    np.testing.assert_allclose(moved["bias"], 3.0)
    np.testing.assert_allclose(moved["first"], 1.0)


def test_no_odd_function_is_below_the_floor():
    """By the best of all odd functions of the points: the odd part itself."""
    y = networks.curve()
    odd = (y - y[::-1]) / 2
    assert networks.floor() == pytest.approx(np.mean((y - odd) ** 2) / 2, rel=1e-12)
    other = odd + 0.1 * np.sign(networks.POINTS)
    assert np.mean((y - other) ** 2) / 2 > networks.floor()


def test_it_is_verified_quickly():
    assert lg.verify("input-expansion", quick=True).holds


def test_another_rate_is_refuted(monkeypatch):
    right = module.factor
    monkeypatch.setattr(module, "factor", lambda adam=False: 1.01 * right(adam))
    claims = [c for c in module._digits(0, True) if isinstance(c, Claim)]
    assert not all(claim.is_as_expected for claim in claims)


def test_the_library_has_the_charge_of_each_unit():
    """`lg.train` observes it, and its law is exact; without the bias it is not."""
    import jax
    import jax.numpy as jnp

    wide, _ = networks.start(0)
    with jax.enable_x64(True):
        w = {n: jnp.asarray(a) for n, a in wide.items()}
        c = networks.CONSTANTS[3]
        w |= {"fourth": w["constants"][3], "constants": w["constants"].at[3].set(0.0)}

        def loss(w, batch):
            bias = w["bias"] + c * w["fourth"]
            return networks.loss(w | {"bias": bias}, batch)

        v, b = lg.blocks("fourth bias")
        both = lg.Symmetry({v: lg.ones, b: -c * lg.ones}, name="translation")
        alone = lg.Translation("fourth")
        batch = networks.data(0)
        run = lg.train(w, loss, batch, optax.sgd(0.02, 0.9), 50, observe=[both, alone])
        rows = lg.check(run)
    assert rows[0].discrete < 1e-12 and rows[0].holds
    assert rows[1].discrete > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("input-expansion", seed=seed).holds
