"""AdamW on a block without a scale: its laws, its second stage, and k-Adam."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.adaptive import adam_stages, block_adam_runs
from lagrangian.theorems.adaptive import meta_adaptive as module
from lagrangian.theorems.theorem import Claim


def test_the_closed_forms_by_a_recursion_of_numbers():
    """A state that u and W share, iterated until it stands still."""
    eta, decay, b, d = 0.01, 0.2, 0.9, 3.0
    charge, square = 0.0, 1.0
    for _ in range(200_000):
        pulled = b * charge
        square, charge = (
            (1 - eta * decay) ** 2 * square
            - 2 * eta * (1 - eta * decay) * d * pulled
            + eta**2,
            b * (1 - eta * decay) * charge - eta / d,
        )
    rule = module.adamw(0.01, b)
    found = module.stationary()
    assert eta**2 / square == pytest.approx(module.at(rule, found["ratio"]), rel=1e-10)
    inward = d * b * charge
    assert inward == pytest.approx(module.at(rule, found["inward"]), rel=1e-10)


def test_gradients_are_found_for_the_steps_that_are_wanted():
    wanted = 0.97 ** np.arange(30)
    slopes = adam_stages.gradients_for((0.9, 0.999), wanted)
    found = adam_stages.chain_steps([(0.9, 0.999)], slopes[:, None])[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_angle_of_two_runs():
    turned = np.array([[[1.0, 0.0]], [[np.cos(0.3), np.sin(0.3)]]])
    still = np.array([[[1.0, 0.0]]] * 2)
    assert block_adam_runs.apart(turned, still) == pytest.approx(0.3, rel=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("meta-adaptive", quick=True).holds


@pytest.mark.parametrize("name", ["ratio", "growth", "angle"])
def test_another_constant_is_refuted(monkeypatch, name):
    right = module.stationary()
    wrong = right | {name: sp.Rational(103, 100) * right[name]}
    monkeypatch.setattr(module, "stationary", lambda: wrong)
    claims = [c for c in module._noise(0, True) if isinstance(c, Claim)]
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("meta-adaptive", seed=seed).holds
