"""Rescalings that balance a network, and training that keeps it balanced."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian as lg
from lagrangian.theorems.conservation import balancing_runs as runs
from lagrangian.theorems.conservation import weight_balancing as module


def test_it_is_verified_quickly(tmp_path):
    found = lg.verify("weight-balancing", quick=True)
    assert found.holds, str(found)
    controls = [c.what for c in found.evidence.claims if c.is_control]
    for kind in ("any f", "before", "exponent", "tanh", "order"):
        assert any(kind in what for what in controls), kind
    found.figure().savefig(tmp_path / "figure.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    found = lg.verify("weight-balancing", seed=seed)
    assert found.holds, str(found)


def test_a_wrong_balance_is_refuted(monkeypatch):
    """With the shares of p = q in the place of those of (1, 2)."""
    net = runs.Balanced(0)
    monkeypatch.setattr(runs, "shares", lambda w, p, q: abs(w) ** p)
    claims = [*module.fix_claims(net, ((1, 2),))]
    (rise,) = (c for c in claims if c.what.endswith("norm") and not c.is_control)
    assert not rise.holds


@pytest.mark.parametrize(("p", "q"), [(1, 2), (2, 1), (3, 2)])
def test_the_balance_is_the_slope_of_the_norm(p, q):
    """By finite differences along a rescale of one unit."""
    w, h = runs.Balanced(1).start, 1e-5
    inward, outward = runs.halves(w, p, q)[0]

    def at(shift):
        factors = [np.ones(n) for n in runs.SIZES[1:-1]]
        factors[0][3] = np.exp(shift)
        return runs.norm(runs.rescaled(w, factors), p, q)

    slope = (at(h) - at(-h)) / (2 * h)
    assert np.isclose(slope, q * (inward[3] - outward[3]), rtol=1e-5)


def test_signs_are_left_as_they_are():
    tx = runs.on_magnitudes(optax.sgd(1.0))
    with jax.enable_x64(True):
        w, g = jnp.array([-2.0, 0.5]), jnp.array([1.0, 1.0])
        moved, _ = tx.update(g, tx.init(w), w)
    assert np.array_equal(moved, [-1.0, -1.0])
