"""One network at several charges: its sharpness and its last rates."""

import jax
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import charge_sets_sharpness as module
from lagrangian.theorems.conservation import sharpness_runs as runs


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("charge-sets-sharpness", quick=True)
    assert found.holds, str(found)
    controls = [c for c in found.evidence.claims if c.is_control]
    for kind in (
        "any f",
        "as of an aligned",
        "as of a generic",
        "as of Q = 0",
        "order",
    ):
        assert any(kind in c.what for c in controls), kind
    numbers = [c.measured for c in controls if not isinstance(c.measured, str)]
    assert np.isfinite(numbers).all()
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("charge-sets-sharpness", seed=seed)
    assert found.holds, str(found)


def test_a_wrong_constant_is_refuted(monkeypatch):
    """The sharpness with s in the place of 2 s."""
    net = runs.Bottleneck(0)
    for place in (module, runs):
        monkeypatch.setattr(place, "sharpness", np.hypot)
    claims = [*module.minimum_claims(net, (0.5,))]
    assert not any(claim.holds for claim in claims), claims


@pytest.mark.parametrize("charge", [0.0, 0.3, -2.0, 50.0, -1e4])
def test_a_rescale_reaches_every_charge_and_leaves_the_network(charge):
    w = {"u": np.array([0.3, -1.0]), "v": np.array([2.0, 0.1, 0.5])}
    moved = runs.moved_to(w, charge)
    assert np.isclose(runs.charge(moved), charge, rtol=1e-12, atol=1e-12)
    same = np.outer(moved["u"], moved["v"]) - np.outer(w["u"], w["v"])
    assert abs(same).max() < 1e-14


@pytest.mark.parametrize("features", [1, 6])
def test_the_loss_of_digits_is_that_of_two_factors(features):
    """Up to a constant, by the definition of both."""
    net = runs.Bottleneck(1, features)
    chance = np.random.default_rng(2)
    constants = []
    for _ in range(3):
        w = {"u": chance.normal(size=10), "v": chance.normal(size=features)}
        factors = net.strength**2 * net.excess(w)
        with jax.enable_x64(True):
            constants.append(float(runs.loss(w, net.batch)) - factors)
    assert np.ptp(constants) < 1e-12
