"""The law of balance: steps, densities and thresholds."""

import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.noise import law_of_balance as module
from lagrangian.theorems.noise import one_sample_diffusion as calculus


def test_the_step_in_plain_numpy():
    generator = np.random.default_rng(0)
    u, w, eta, gamma = 1.2, -0.3, 0.1, 0.2
    for _ in range(50):
        x, y = generator.normal(size=2)
        r = 2 * x * (u * w * x - y)
        before = u**2 - w**2
        u, w = u - eta * (r * w + 2 * gamma * u), w - eta * (r * u + 2 * gamma * w)
        kept = (1 - 2 * eta * gamma) ** 2 - eta**2 * r**2
        assert u**2 - w**2 == pytest.approx(kept * before, rel=1e-12, abs=1e-14)


def test_the_threshold_of_two_points():
    data = module.two_points(0.3)
    assert data.threshold() == pytest.approx(0.3 / 0.91, rel=1e-12)
    assert data.exponent(0.9 * 0.3 / 0.91) > 0 > data.exponent(1.1 * 0.3 / 0.91)


def test_the_runs_are_the_recursion():
    """Balanced, so that v alone moves; a sample gives one of two values."""
    data, eta = module.two_points(0.3), 0.2
    us, ws = module.descend(data, eta, 10, 5, 1, u=0.5, w=0.5)
    v = np.concatenate([[np.full(5, 0.25)], us * ws])
    np.testing.assert_allclose(us, ws)
    choices = [v[:-1] * (1 - 2 * eta * (v[:-1] - m)) ** 2 for m in data.products]
    gaps = np.abs(np.stack(choices) - v[1:]).min(axis=0)
    assert gaps.max() < 1e-14


def test_ito_against_a_known_case():
    """d(x^2) = dt for a Wiener process."""
    x = sp.Symbol("x")
    assert calculus.ito(x**2, {x: sp.S.Zero}, {x: sp.S.One}) == (1, 2 * x)


def test_it_is_verified_quickly():
    assert lg.verify("law-of-balance", quick=True).holds


def test_a_wrong_law_is_refuted(monkeypatch):
    """With the temperature of batches of two."""
    right = module.Signs.variance.fget
    monkeypatch.setattr(module.Signs, "variance", property(lambda s: right(s) / 2))
    claims = module._moments(0, True)
    assert not all(c.is_as_expected for c in claims if hasattr(c, "holds"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("law-of-balance", seed=seed).holds
