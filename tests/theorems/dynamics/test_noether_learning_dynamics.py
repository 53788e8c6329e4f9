"""Noether's Learning Dynamics: its laws, balances and controls, and what refutes it."""

import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.dynamics import noether_learning_dynamics as module
from lagrangian.theorems.dynamics.balances import integral, nodes
from lagrangian.theorems.dynamics.training_balances import (
    MirrorDrift,
    discrete_balance,
    mirror_run,
)
from lagrangian.theorems.testbeds.classifier import (
    SYMMETRIES,
    cross_entropy,
    problem,
    without_normalisation,
)


def follow(motion, name, loss=cross_entropy, tol=1e-12):
    start, batch = problem(3)
    return module.MOTIONS[motion].follow(SYMMETRIES[name], loss, start, batch, tol)


def test_integrals_over_the_nodes_are_exact():
    t = nodes(1.0, 4.0)
    values = np.stack([np.cos(t), np.exp(-t)], axis=1)
    expected = np.stack([np.sin(t), -np.exp(-t)], axis=1)
    np.testing.assert_allclose(integral(t, values), expected - expected[0], atol=1e-14)


def test_the_laws_are_the_stated_ones():
    claims = list(module._identities())
    assert all(claim.is_as_expected for claim in claims)
    assert [claim.is_control for claim in claims].count(True) == 3
    assert module.mirror_drift() == 0


def test_the_balance_needs_every_term_and_the_symmetry():
    balance = follow("accelerated mirror", "scale")
    assert balance.residual() < 1e-12
    assert balance.residual("metric") > 1e-2 < balance.residual("asymmetry")
    assert follow("accelerated mirror", "scale", without_normalisation).gap[-1] > 1e-2


def test_the_rate_is_the_slope_of_the_charge():
    """By the derivative of the polynomial through the charges, not by an integral."""
    balance = follow("heavy ball", "scale")
    t = balance.path.t
    fit = np.polynomial.Chebyshev.fit(t, balance.charge[:, 0], len(t) - 1)
    rate = sum(balance.terms.values())[:, 0]
    np.testing.assert_allclose(fit.deriv()(t), rate, atol=1e-8)
    assert not balance.terms["metric"].any()


@pytest.mark.parametrize("name", SYMMETRIES)
def test_training_obeys_the_law_with_differences_for_derivatives(name):
    rule = lg.HeavyBall(0.3, 0.7, 0.02)
    assert np.abs(discrete_balance(rule, name, 1, cross_entropy)).max() < 1e-12


def test_mirror_descent_drifts_as_predicted():
    claims = list(MirrorDrift(1).claims())
    assert all(claim.is_as_expected for claim in claims)
    assert abs(mirror_run(0.5, 1, cross_entropy).moved) < 1e-13  # whatever the rate


@pytest.fixture
def small(monkeypatch):
    """Two kinetic energies and one symmetry; all of them are `make slow`'s."""
    kept = {n: module.MOTIONS[n] for n in ("heavy ball", "accelerated mirror")}
    monkeypatch.setattr(module, "MOTIONS", kept)
    monkeypatch.setattr(module, "SYMMETRIES", {"scale": SYMMETRIES["scale"]})


def test_it_is_verified(small, tmp_path):
    found = lg.verify("noether-learning-dynamics")
    assert found.holds
    assert "dissipation" in found.theorem.title
    found.figure().savefig(tmp_path / "figure.png")
    assert len(str(found).splitlines()[3]) < 210  # long expressions are cut


def test_a_wrong_asymmetry_is_refuted(monkeypatch):
    """Half of the right one, in the derivation and along the flow."""
    right = module.dynamic_asymmetry
    for place in ("balances", "noether_learning_dynamics"):
        name = f"lagrangian.theorems.dynamics.{place}.dynamic_asymmetry"
        monkeypatch.setattr(name, lambda law: right(law) / 2)
    failed = [c.what for c in module._identities() if not c.is_as_expected]
    assert failed == [
        f"Bregman, {n}: asymmetry - <D, xi'>" for n in ("scale", "linear map")
    ]
    key = "heavy ball", "scale"
    wrong, *_ = module._flow_claims({key: follow(*key)}, {})
    assert not wrong.is_as_expected


@pytest.mark.slow
def test_every_kinetic_energy_and_symmetry():
    assert lg.verify("noether-learning-dynamics", seed=1).holds
