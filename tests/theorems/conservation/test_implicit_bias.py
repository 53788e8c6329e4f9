"""Where training lands, by two charges."""

import numpy as np
import pytest
from scipy.optimize import fsolve

import lagrangian as lg
from lagrangian.theorems.conservation import implicit_bias as module
from lagrangian.theorems.conservation import landing_flows as flows
from lagrangian.theorems.conservation import landing_runs as runs


@pytest.mark.parametrize("delta", [-1e4, -2.0, 0.0, 2.0, 1e4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_landing_fits_and_has_the_charges(delta, sign):
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(3, 7)), generator.normal(size=3)
    w, rates = generator.normal(size=7), (0.6, 1.5)
    place = runs.landing((inputs, targets), w, delta, sign, rates)
    np.testing.assert_allclose(inputs @ place, targets, atol=1e-11)
    # a from the part that no input sees, then w, then the charge.
    unseen = np.linalg.svd(inputs)[2][3:]
    a = np.mean((unseen @ place) / (unseen @ w))
    assert np.sign(a) == sign
    # Relative to the terms, as delta is their difference.
    found, scale = runs.imbalance(a, place / a, rates), rates[1] * a**2
    scale += rates[0] * place @ place / a**2
    assert found == pytest.approx(delta, abs=1e-8 * scale)


def test_without_a_part_that_is_free_it_is_the_interpolator_of_least_norm():
    inputs, targets = np.array([[2.0, 0.0]]), np.array([3.0])
    place = runs.landing((inputs, targets), np.array([5.0, 0.0]), 0.7, 1.0)
    np.testing.assert_allclose(place, [1.5, 0.0], atol=1e-15)


def test_targets_of_zero_are_fitted_by_a_of_zero_or_by_what_no_input_sees():
    inputs, w = np.array([[1.0, 0.0]]), np.array([0.3, 2.0])
    low = runs.landing((inputs, np.zeros(1)), w, -9.0, 1.0, (1.0, 1.0))
    high = runs.landing((inputs, np.zeros(1)), w, 5.0, 1.0, (1.0, 1.0))
    np.testing.assert_allclose(low, [0.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(high, [0.0, 6.0], atol=1e-12)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_the_landing_of_depth_keeps_its_charge(layers):
    """By its equations, solved for all entries at once."""
    generator = np.random.default_rng(1)
    inputs, targets = generator.normal(size=(2, 5)), generator.normal(size=2)
    begin = generator.normal(size=5)
    unseen = np.linalg.svd(inputs)[2][2:]
    charge = lambda b: unseen @ b * np.linalg.norm(b) ** (1 / layers - 1)

    def left(beta):
        return np.concatenate([inputs @ beta - targets, charge(beta) - charge(begin)])

    place = flows.deep_landing((inputs, targets), begin, layers)
    np.testing.assert_allclose(left(place), 0, atol=1e-12)
    np.testing.assert_allclose(fsolve(left, place + 1e-3), place, atol=1e-7)


@pytest.mark.parametrize("delta, shape", [(0.8, (3, 5, 4)), (-0.8, (5, 3, 4))])
def test_isotropic_layers_have_one_imbalance(delta, shape):
    w, a = flows.isotropic(np.random.default_rng(2), shape, delta, (0.6, 1.5))
    balance = 1.5 * a @ a.T - 0.6 * w @ w.T
    np.testing.assert_allclose(balance, delta * np.eye(shape[-1]), atol=1e-12)


def test_the_inverse_of_the_mirror_is_one():
    dual, primal = module._mirror()
    x = np.array([-2.0, 0.0, 1e-3, 3.0])
    np.testing.assert_allclose(primal(dual(x, -0.8), -0.8), x, atol=1e-14)


def test_it_is_verified_quickly():
    assert lg.verify("implicit-bias", quick=True).holds


def _refuted(claims):
    kept = [c for c in claims if isinstance(c, module.Claim)]
    return not all(claim.is_as_expected for claim in kept)


def test_a_law_without_momentum_is_refuted(monkeypatch):
    wrong = lambda first, run, name: runs.imbalance(*first) + 0.005 * run.summed
    monkeypatch.setattr(module, "summed_imbalance", wrong)
    assert _refuted(module._digits(0, True))


def test_another_landing_is_refuted(monkeypatch):
    right = module.landing
    doubled = lambda data, w, delta, *more: right(data, w, 2 * delta, *more)
    monkeypatch.setattr(module, "landing", doubled)
    assert _refuted(module._flows(0, True))


def test_another_potential_is_refuted(monkeypatch):
    module_numbers = module._numbers

    def numbers(product):
        slope = lambda x, d: np.sqrt(np.sqrt(d**2 + 4 * product * x**2) + d)
        return module_numbers(product)[0], slope

    monkeypatch.setattr(module, "_numbers", numbers)
    assert _refuted(module._flows(0, True))


def test_another_mirror_is_refuted(monkeypatch):
    dual, primal = module._mirror()
    monkeypatch.setattr(
        module, "_mirror", lambda: (dual, lambda y, d: primal(1.01 * y, d))
    )
    assert _refuted(module._maps(0, True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("implicit-bias", seed=seed).holds
