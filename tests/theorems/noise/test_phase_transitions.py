"""Order parameters of deep linear networks, against brute force and on the digits."""

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize_scalar

import lagrangian as lg
from lagrangian.theorems.noise import decayed_networks as networks
from lagrangian.theorems.noise import order_parameter as derivation
from lagrangian.theorems.noise import phase_transitions as module


def potential(s, gamma, layers, sigma, a):
    n = layers + 1
    return a * s**2 - 2 * sigma * s + gamma * n * s ** (2 / n)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_thresholds_by_brute_force(layers):
    """The least value over s, on both sides of gamma_c; the branch by its minimum."""
    sigma, a = 0.8, 1.3
    critical = derivation.number("gamma_c", sigma, layers, a)
    s = np.linspace(1e-9, 2, 400_001)
    for share, deeper in ((0.999, True), (1.001, False)):
        lowest = potential(s, share * critical, layers, sigma, a)
        assert (lowest.min() < -1e-9) == deeper
    end = derivation.number("gamma_sp", sigma, layers, a)
    expected = {1: 1, 2: 1.1906, 3: 1.4142, 4: 1.6494}[layers]
    assert end / critical == pytest.approx(expected, rel=1e-4)
    gamma = 0.9 * end
    found = float(derivation.branch(np.array(sigma), gamma, layers, a))
    near = minimize_scalar(
        potential,
        bounds=(0.7 * found, 1.3 * found),
        args=(gamma, layers, sigma, a),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert found == pytest.approx(near.x, rel=1e-6)
    assert derivation.branch(np.array(sigma), 1.01 * end, layers, a) == 0


def test_rotated_rows_have_the_same_loss():
    data = networks.digits(3)
    few = data.rotated()
    assert len(few.inputs) == 30
    network = networks.start([20, 5, 10], 1, 0)
    gamma = np.array([0.1])
    whole = networks.losses(data, network, gamma)
    np.testing.assert_allclose(networks.losses(few, network, gamma), whole, rtol=1e-12)
    np.testing.assert_allclose(data.covariance, np.eye(20), atol=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("phase-transitions", quick=True).holds


def test_another_threshold_is_refuted(monkeypatch):
    """With the decay of one layer more counted."""
    right = module.branch

    def wrong(sigma, gamma, layers, a=1.0):
        return right(sigma, gamma * (1 + 1e-6), layers, a)

    monkeypatch.setattr(module, "branch", wrong)
    claims = [c for c in module._cascades(0, True) if hasattr(c, "holds")]
    assert not all(claim.is_as_expected for claim in claims)


def test_a_wrong_formula_is_refuted(monkeypatch):
    right = derivation.stated

    def wrong(layers):
        return right(layers) | {"s_c": 2 * right(layers)["s_c"]}

    monkeypatch.setattr(derivation, "stated", wrong)
    failed = [c.what for c in derivation.identities() if not c.is_as_expected]
    assert any("s_c" in what for what in failed)
    assert sp.simplify(right(2)["s_c"] - derivation.first_order(2)["s_c"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("phase-transitions", seed=seed).holds
