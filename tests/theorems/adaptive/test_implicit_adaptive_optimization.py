"""Normalisation as RMSProp, in the noise equilibrium whose figures are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lagrangian as lg
from lagrangian.theorems.adaptive import adaptive_training
from lagrangian.theorems.adaptive import implicit_adaptive_optimization as module
from lagrangian.theorems.adaptive.rmsprop import (
    angles,
    dictionary,
    equilibrium_angle,
    rmsprop_average,
)

DIMENSIONS = 20


class Direction(nnx.Module):
    """A normalised vector: the smallest network with a scale symmetry."""

    def __init__(self):
        self.w = nnx.Param(jnp.ones(DIMENSIONS))

    def __call__(self):
        w = self.w[...]
        return w / jnp.sqrt(jnp.sum(w**2))


def noise_loss(model, noise):
    """White-noise gradients on the sphere: a batch is one noise vector."""
    return jnp.sum(noise[0] * model())


def observe(rule, steps=6000):
    symmetry = lg.Scale("w")
    law = lg.noether(rule.lagrangian(symmetry.loss), symmetry)
    noise = np.random.default_rng(0).normal(size=(steps, DIMENSIONS))
    with jax.enable_x64(True):
        run = lg.train(
            Direction(), noise_loss, noise, rule, steps, observe=[law], batch_size=1
        )
    return run, law


@pytest.mark.parametrize(
    ("eta", "beta", "decay"), [(0.1, 0.9, 0.01), (0.1, 0.0, 0.01), (0.05, 0.5, 0.02)]
)
def test_the_equilibrium_of_angle_and_norm(eta, beta, decay):
    rule = lg.HeavyBall(eta, beta, decay)
    run, law = observe(rule)
    late = slice(run.steps // 2, None)
    measured = np.sqrt(np.mean(angles(run, law)[late] ** 2))
    assert measured == pytest.approx(equilibrium_angle(rule), rel=0.02)
    # White noise: r^4 = eta E|g|^2/(2 lambda (1 - beta)), |g|^2 of the tangent noise.
    norm = np.mean(run[law].quantity[late] ** 2)
    expected = eta * (DIMENSIONS - 1) / (2 * decay * (1 - beta))
    assert norm == pytest.approx(expected, rel=0.15)


def test_the_angle_without_decay_goes_to_zero():
    """The control: no weight decay, no equilibrium."""
    run, law = observe(lg.HeavyBall(0.1, 0.5, 0.0))
    turned = angles(run, law)
    assert np.mean(turned[-500:] ** 2) < 0.2 * np.mean(turned[:500] ** 2)
    assert equilibrium_angle(run.rule) == 0


def test_the_norm_is_the_average_that_rmsprop_would_keep():
    run, law = observe(lg.HeavyBall(0.02, 0.5, 0.01))
    norm = run[law].quantity ** 2
    average = rmsprop_average(run, law)
    assert np.median(np.abs(average / norm - 1)) < 0.02
    # The control: a quarter of the decay is another average.
    wrong = lg.HeavyBall(0.02, 0.5, 0.0025)
    run.rule = wrong
    assert np.median(np.abs(rmsprop_average(run, law) / norm - 1)) > 0.2


def test_the_dictionary_is_derived():
    found = dictionary()
    assert all(claim.holds for claim in module._identities(found))
    keep, ratio, step = found.at(lg.HeavyBall(0.1, 0.5, 0.01))
    assert keep == pytest.approx(1 - 4 * 0.1 * 0.01 / 0.5)
    assert ratio == pytest.approx(0.1 * 1.5 / (2 * 0.01 * 0.25))
    assert step == pytest.approx(np.sqrt(2 * 0.1 * 0.01 / 1.5))


def test_both_sides_of_the_dictionary_turn_alike():
    rule = lg.HeavyBall(0.1, 0.0, 0.01)
    ball = adaptive_training.Comparison(rule, dictionary(), seed=4)
    angle, fourth = ball.rmsprop(ball.keep, ball.momentum)
    assert angle.max() < adaptive_training.TOLERANCE
    assert np.abs(fourth / ball.fourth - 1).max() < adaptive_training.NORM_TOLERANCE
    for wrong in ball.others().values():
        assert wrong.max() > 3 * adaptive_training.TOLERANCE


def test_rmsprop_on_the_sphere_steps_along_the_tangent():
    """By eta |g|/sqrt(G), the tangent of the angle on the way back to |u| = 1."""
    u, average = adaptive_training.RmsProp(0.9, 0.05).train(
        np.ones(6) / np.sqrt(6), 2.0, 20
    )
    with jax.enable_x64(True):
        gradients = jax.vmap(
            lambda u: jax.grad(adaptive_training.pulls)({"w": u})["w"]
        )(u)
    squares = (np.asarray(gradients) ** 2).sum(axis=1)
    np.testing.assert_allclose(
        average[1:], 0.9 * average[:-1] + 0.1 * squares[:-1], rtol=1e-12
    )
    turned = adaptive_training.between(u[1:], u[:-1])
    expected = np.arctan(0.05 * np.sqrt(squares / average))[:-1]
    np.testing.assert_allclose(turned, expected, rtol=1e-10)


@pytest.mark.slow
def test_it_is_verified(tmp_path):
    found = lg.verify("implicit-adaptive-optimization", seed=1)
    assert found.holds
    found.figure().savefig(tmp_path / "figure.png")
