"""Where weight decay and normalisation balance: derivations, circles, and noise."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.symbolic.laws.discrete import learning_rate, momentum, weight_decay
from lagrangian.theorems.adaptive import equilibrium as module


def values(rule):
    eta, beta, decay = rule.rate(0), rule.momentum, rule.weight_decay
    return {learning_rate: eta, momentum: beta, weight_decay: decay}


def test_the_derived_formulas_are_the_stated_ones():
    assert all(claim.holds for claim in module._identities())


def test_the_angle_of_the_recursion_itself():
    """Heavy ball on the angle of a pair of coordinates, step by step."""
    rule = lg.HeavyBall(0.2, 0.5, 0.05)
    angle, square = (float(e.subs(values(rule))) for e in module.circle())
    q, before = np.sqrt(square), np.sqrt(square) * np.exp(1j * angle)
    for _ in range(200):
        gradient = 1j * q / abs(q) ** 2 + rule.weight_decay * q
        q, before = q + rule.momentum * (q - before) - rule.rate(0) * gradient, q
    assert np.angle(before / q) == pytest.approx(angle, rel=1e-10)
    assert abs(q) ** 2 == pytest.approx(square, rel=1e-10)


@pytest.fixture(scope="module")
def noisy():
    return module.settle(
        lg.HeavyBall(0.1, 0.5, 0.04), module.white_noise, 3, steps=1200
    )


def test_noise_settles_at_the_predicted_angle_and_norm(noisy):
    rule = noisy.run.rule
    angle = np.sqrt(2 * 0.1 * 0.04 / 1.5)
    assert noisy.angle.mean() == pytest.approx(angle, rel=0.01)
    fourth = 19 * 0.1 / (2 * 0.04 * 0.5)
    assert noisy.fourth.mean() == pytest.approx(fourth, rel=0.05)
    white = module.fourth_power(module._WHITE).subs(values(rule))
    assert 19 * float(white) == pytest.approx(fourth)


def test_raw_gradients_overestimate_the_norm_under_noise(noisy):
    """By (1 + beta)/(1 - beta)."""
    assert noisy.raw.mean() / noisy.fourth.mean() == pytest.approx(3, rel=0.05)


def test_claims_are_refuted_by_another_angle(noisy):
    rule = noisy.run.rule
    assert all(c.is_as_expected for c in list(module._noise_claims(rule, noisy))[1:2])
    other = lg.HeavyBall(0.1, 0.5, 0.05)
    claims = list(module._noise_claims(other, noisy))
    assert not claims[0].is_as_expected and not claims[1].is_as_expected


def test_the_exact_circle_has_the_stated_angle_at_small_rates():
    small = sp.Symbol("small", positive=True)
    angle, _ = module.circle()
    found = sp.series(angle.subs(weight_decay, small), small, 0, 1).removeO()
    stated = sp.sqrt(2 * learning_rate * small / (1 + momentum))
    assert sp.simplify(found**2 - stated**2) == 0


@pytest.mark.slow
def test_it_is_verified(tmp_path):
    found = lg.verify("equilibrium", seed=1)
    assert found.holds
    found.figure().savefig(tmp_path / "figure.png")
