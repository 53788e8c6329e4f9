"""Training keeps the symmetries of its start."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.noise import curie as module


def test_the_stabilisers_of_the_starts_counted_by_hand():
    counts = [len(module.stabiliser(w)) for w in module.starts(0).values()]
    # Two dead units may be swapped and turned in sign: 8; two equal ones swapped: 2.
    assert counts == [1, 2, 6, 2, 2, 16]


def test_moved_units_make_the_same_network():
    weights, data = module.start(0), module.digits(0)
    there = module.moved(weights, [2, 0, 3, 1], [1, -1, -1, 1])
    np.testing.assert_allclose(
        module.tanh_loss(weights, data), module.tanh_loss(there, data), rtol=1e-6
    )


def test_the_odd_tanh_has_the_gradient_of_tanh():
    weights, data = module.start(0), module.digits(0)
    with module.jax.enable_x64(True):
        ours, theirs = (
            module.jax.grad(loss)(weights, data)
            for loss in (module.odd_loss, module.tanh_loss)
        )
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-10, atol=1e-14)


def test_it_is_verified_quickly():
    assert lg.verify("curie", quick=True).holds


def test_another_growth_is_refuted(monkeypatch):
    right = module.split_units

    def wrong(*given):
        predicted, alone, measured = right(*given)
        return 1.01 * predicted, alone, measured

    monkeypatch.setattr(module, "split_units", wrong)
    claims = [c for c in module._growth(0, True) if isinstance(c, module.Claim)]
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("curie", seed=seed).holds
