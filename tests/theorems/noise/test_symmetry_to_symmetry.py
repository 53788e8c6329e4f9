"""Plateaus of small starts, and modes that noise forbids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian as lg
from lagrangian.theorems.noise import symmetry_to_symmetry as module
from lagrangian.theorems.noise import transverse
from lagrangian.theorems.noise.decayed_networks import digits


def test_the_tangent_of_a_step_by_automatic_differentiation():
    """Of a network with a unit at zero, in the direction of that unit."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(3, 5)), generator.normal(size=(4, 3))
    w, u = generator.normal(size=5), generator.normal(size=4)
    x, y = generator.normal(size=(2, 5)), generator.normal(size=(2, 4))

    def step(first, second):
        def loss(layers):
            said = x @ layers[0].T @ layers[1].T
            return ((said - y) ** 2).sum() / len(x)

        g = jax.grad(loss)((first, second))
        return first - 0.1 * g[0], second - 0.1 * g[1]

    with jax.enable_x64(True):
        wide = jnp.vstack([first, np.zeros(5)]), jnp.hstack([second, np.zeros((4, 1))])
        tangent = (
            jnp.vstack([np.zeros((3, 5)), w]),
            jnp.hstack([np.zeros((4, 3)), u[:, None]]),
        )
        after, moved = jax.jvp(step, wide, tangent)
        small = transverse.error_step(first, second, x, y, 0.1)
    np.testing.assert_allclose(after[0][:3], small[0], rtol=1e-12)
    np.testing.assert_allclose(after[1][:, :3], small[1], rtol=1e-12)
    push = np.asarray(small[2])
    np.testing.assert_allclose(moved[0][3], w + (u @ push.T) @ x, rtol=1e-12)
    np.testing.assert_allclose(moved[1][:, 3], u + (x @ w) @ push, rtol=1e-12)


def test_the_least_loss_is_a_rest():
    data = digits(0)
    found = transverse.modes(data)
    first, second = transverse.least_loss(found, 4)
    moved = transverse.error_step(first, second, data.inputs, data.targets, 0.1)
    np.testing.assert_allclose(moved[0], first, atol=1e-12)
    np.testing.assert_allclose(moved[1], second, atol=1e-12)


def test_it_is_verified_quickly():
    assert lg.verify("symmetry-to-symmetry", quick=True).holds


def test_other_times_are_refuted(monkeypatch):
    right = module.half_time
    monkeypatch.setattr(module, "half_time", lambda s, start: 1.02 * right(s, start))
    claims = module._plateaus(0, True)
    assert not all(c.is_as_expected for c in claims if hasattr(c, "holds"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_is_verified(seed):
    assert lg.verify("symmetry-to-symmetry", seed=seed).holds
