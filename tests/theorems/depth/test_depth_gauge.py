"""The gauge symmetry of depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.depth import depth_gauge as module
from lagrangian.theorems.depth import gauge_identities as identities
from lagrangian.theorems.depth import residual_networks as networks


def test_a_few_rows_have_the_squared_error_of_all():
    data = networks.digits(0)
    few = networks.condensed(data)
    w = networks.start(1, 7)
    with jax.enable_x64(True):
        many, less = (
            float(networks.squared_error(jnp.asarray(w), jax.tree.map(jnp.asarray, d)))
            for d in (data, few)
        )
    assert len(few[0]) == 20
    assert less == pytest.approx(many, rel=1e-12)


def test_the_end_map_is_what_the_layers_do():
    w, inputs = networks.start(0, 5), np.random.default_rng(0).normal(size=(3, 10))
    with jax.enable_x64(True):
        found = networks.outputs(jnp.asarray(w), jnp.asarray(inputs))
    np.testing.assert_allclose(found, inputs @ networks.end_map(w).T, atol=1e-14)


def test_gradients_are_those_of_finite_differences():
    batch = networks.condensed(networks.digits(0))
    w, epsilon = networks.start(0, 6), 1e-6
    found = networks.measured_slope(networks.squared_error, w, batch)

    def value(layers):
        apart = batch[0] @ networks.end_map(layers).T - batch[1]
        return (apart**2).sum() / 2 / len(apart)

    for place in [(0, 1, 2), (3, 4, 4), (5, 9, 0)]:
        there = np.zeros_like(w)
        there[place] = epsilon
        rate = (value(w + there) - value(w - there)) / 2 / epsilon
        assert 6 * rate == pytest.approx(found[place], rel=1e-6, abs=1e-8)


def test_an_orthogonal_gauge_is_one_and_closes():
    a = networks.gauge(0, 8, orthogonal=True)
    np.testing.assert_allclose(a @ np.swapaxes(a, 1, 2), [np.eye(10)] * 9, atol=1e-13)
    np.testing.assert_allclose(a[[0, -1]], [np.eye(10)] * 2, atol=1e-13)


def test_what_is_no_differential_has_no_antiderivative():
    w, g = identities.W, identities.G
    closed = lg.matmul(g, w) + lg.matmul(w, g)
    assert identities.antiderivative(closed) == lg.matmul(w, w)
    for open_one in (lg.matmul(g, w), lg.matmul(g, w) - lg.matmul(w, g)):
        found = identities.antiderivative(open_one)
        assert sp.expand(lg.variation(found, {w: g}) - open_one) != 0


def test_it_is_verified_quickly():
    assert lg.verify("depth-gauge", quick=True).holds


def _refuted(claims):
    kept = [c for c in claims if isinstance(c, module.Claim)]
    return not all(claim.is_as_expected for claim in kept)


def test_another_charge_is_refuted(monkeypatch):
    def wrong(w):
        m = networks.maps(w)
        apart = (
            m[1:] @ networks.transposed(m[1:]) - networks.transposed(m[:-1]) @ m[:-1]
        )
        return len(w) ** 2 * apart

    monkeypatch.setattr(module, "charge", wrong)
    assert _refuted(module._charge(0, networks.digits(0), True))


def test_half_the_turn_is_refuted(monkeypatch):
    def slower(w):
        symmetric, antisymmetric = networks.halves(w)
        return networks.turned(symmetric + antisymmetric / 2)

    monkeypatch.setattr(module, "turned", slower)
    assert _refuted(module._decay(0, networks.digits(0), True))


def test_another_motion_of_the_connection_is_refuted(monkeypatch):
    right = identities.motion
    backwards = lambda generator, weights=identities.W: (
        right(-generator, weights) + (2 * lg.total_derivative(generator))
    )
    monkeypatch.setattr(identities, "motion", backwards)
    assert _refuted(identities.gauge_identities())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("depth-gauge", seed=seed).holds
