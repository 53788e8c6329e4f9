"""The flow behind the steps: its terms, its distance from them, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import sympy as sp

import lagrangian as lg
from lagrangian.theorems.dynamics import counter_terms, decaying_charges, motion_runs
from lagrangian.theorems.dynamics import equation_of_motion as module


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_the_terms_of_a_quadratic_network_are_those_of_the_matrix_logarithm():
    """Hess F of any size, by SciPy: the sum of eta^n f_n is ln(1 - eta H)/eta q."""
    matrix = np.diag([0.3, 1.0, -0.5]) + 0.2
    digits = motion_runs.Digits(0)
    object.__setattr__(digits, "loss", lambda q: q @ matrix @ q / 2)
    q, eta = jnp.array([1.0, 2.0, -1.0]), 1e-2
    series = sum(eta**n * f(q) for n, f in enumerate(digits.terms(3)))
    exact = scipy.linalg.logm(np.eye(3) - eta * matrix) / eta @ q
    np.testing.assert_allclose(series, exact, rtol=1e-7)


def test_eulers_identities_hold_for_a_loss_of_the_direction():
    """<q, D^2 grad f[u, v]> and D grad f[q], by automatic differentiation."""
    loss = lambda q: jnp.sin(3 * q[0] / jnp.linalg.norm(q)) + q[1] * q[2] / (q @ q)
    q, u = jnp.array([1.0, -0.4, 0.7]), jnp.array([0.2, 0.5, -1.0])
    slope = jax.grad(loss)
    turned = jax.jvp(slope, (q,), (q,))[1]
    np.testing.assert_allclose(turned, -slope(q), atol=1e-12)
    along = lambda at: jax.jvp(slope, (at,), (u,))[1]
    twice = jax.jvp(along, (q,), (q,))[1]
    np.testing.assert_allclose(twice, -2 * along(q), atol=1e-12)
    scaled = lg.Scale("q").loss
    written = counter_terms.along(counter_terms.q, loss=scaled)
    assert counter_terms.by_euler(written) == -scaled.gradient(counter_terms.q)


def test_it_is_verified_quickly():
    assert lg.verify("equation-of-motion", quick=True).holds


@pytest.mark.parametrize(
    ("place", "name", "wrong"),
    [
        (module, "told", lambda eta, order: 1.01 * decaying_charges.told(eta, order)),
        (module, "equilibria", lambda eta, decay, G: (eta * G / (2 * decay),) * 3),
        (counter_terms, "TWELFTH", sp.Rational(1, 6)),
    ],
)
def test_other_rates_norms_and_terms_are_refuted(monkeypatch, place, name, wrong):
    monkeypatch.setattr(place, name, wrong)
    found = [*module._decays(0, True), *module._rest()]
    found += counter_terms.term_identities(False) if name == "TWELFTH" else ()
    claims = [claim for claim in found if isinstance(claim, module.Claim)]
    assert not all(claim.is_as_expected for claim in claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("equation-of-motion", seed=seed).holds
